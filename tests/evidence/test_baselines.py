"""Baselines point where they should, and share one interface."""

from functools import partial

import numpy as np
import pytest

from prune.evidence.baselines import BASELINES, igos, order_by_map, smooth_gradcam
from prune.evidence.case import Case
from prune.evidence.regions import grid


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_a_map_of_the_clip(case: Case, name: str) -> None:
    quick = {
        "igos": partial(igos, iterations=2, steps=1),
        "gradcam": partial(smooth_gradcam, copies=4),
    }
    found = quick.get(name, BASELINES[name])(case)
    assert found.shape == case.frames.shape[:3] and np.isfinite(found).all() and found.std() > 0
    regions = grid(case.frames, 9)
    order = order_by_map(found, regions)
    assert sorted(order) == list(range(72))
    assert regions.means(found)[order[0]] == pytest.approx(regions.means(found).max())


def test_baselines_leave_no_trace(case: Case) -> None:
    shown = np.ones((1, len(case.forcing.video)), bool)
    before = case.forcing.probabilities(shown)
    smooth_gradcam(case, copies=2)
    igos(case, iterations=1, steps=1)
    assert np.array_equal(case.forcing.probabilities(shown), before)
    assert all(p.grad is None for p in case.model.parameters())
