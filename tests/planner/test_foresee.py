"""The screen of a search: what candidates lose around a plan, by gradients."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from prune.checkpoint.load import LoadedModel
from prune.evaluate.calibration import Calibration, calibrate
from prune.inputs.samples import Sample
from prune.layout.pathways import REMOVABLE
from prune.layout.reach import dense_reach
from prune.plan.budget import Budget
from prune.plan.draft import Draft
from prune.plan.foreseen import remove_foreseen
from prune.plan.moves import Candidate, candidates, slides, without
from prune.runtime.attention import seam
from prune.trace import foresee
from prune.trace.foresee import PlanScreen
from tests.helpers import without_options

LAYERS, DEAD = 12, 6
"""Layers, and the first one in which video is dead."""

HALF = slides(LAYERS, 8)[0].at(dense_reach(LAYERS), LAYERS - DEAD)


@pytest.fixture(scope="module")
def calibration(tiny: LoadedModel, samples: list[Sample]) -> Calibration:
    return calibrate(tiny, samples[:6], 8)


def ranked(*layers: int) -> list[Candidate]:
    every = candidates({pathway.name: np.zeros(LAYERS) for pathway in REMOVABLE})
    return [candidate for candidate in every if candidate.layer in layers]


def test_it_agrees_with_runs_around_a_plan(tiny: LoadedModel, calibration: Calibration) -> None:
    chosen = ranked(1, 3, 7)
    screen = PlanScreen(calibration.batches, tiny.processor, 12)
    with seam(tiny.model):
        found = screen(HALF, chosen)
        now = calibration.measure(HALF, lambda score: False).expected
        lost = [
            now - calibration.measure(without(HALF, [one]), lambda score: False).expected
            for one in chosen
        ]
    expected = [found.lost([place], "points") for place in range(len(chosen))]
    assert spearmanr(expected, lost).statistic > 0.7
    assert (100 / (1 + np.exp(-found.margin))).mean() == pytest.approx(now, abs=1e-2)
    assert found.passes == pytest.approx(foresee.PASSES / 2), "6 samples of 12"
    reads_video = [i for i, c in enumerate(chosen) if "video_to" in c.pathway.name and c.layer > 6]
    assert reads_video and not found.change[reads_video].any(), "nothing is left of them"


def test_single_heads_make_up_a_layer_and_parts_a_batch(
    tiny: LoadedModel, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ranked(4)
    heads = [replace(one, head=head) for one in whole for head in range(tiny.id.num_kv_heads)]
    screen = PlanScreen(calibration.batches, tiny.processor, 6)
    by_head = np.repeat(HALF, tiny.id.num_kv_heads, 1)
    with seam(tiny.model):
        together, single = screen(HALF, whole), screen(by_head, heads)
        monkeypatch.setattr(foresee, "KEPT_BYTES", 1)
        alone = screen(HALF, whole)
    summed = single.change.reshape(len(whole), -1, 6).sum(1)
    np.testing.assert_allclose(summed, together.change, atol=1e-4)
    np.testing.assert_allclose(alone.change, together.change, atol=1e-4)


def test_replies_are_followed_too(tiny: LoadedModel, samples: list[Sample]) -> None:
    told = calibrate(tiny, [without_options(sample) for sample in samples[:3]], 8)
    chosen = ranked(5)
    with seam(tiny.model):
        found = PlanScreen(told.batches, tiny.processor, 3)(dense_reach(LAYERS), chosen)
    moved = {c.pathway.name: found.moved([i], "points") for i, c in enumerate(chosen)}
    assert found.margin.shape == (3,) and max(moved.values()) > 0


def test_what_it_orders_is_removed_in_blocks_and_checked(
    tiny: LoadedModel, calibration: Calibration
) -> None:
    screen = PlanScreen(calibration.ranking, tiny.processor, 6)
    problem = replace(calibration.problem(), foresee=screen)
    draft = Draft(problem, Budget("max_drop", 20, "edges"), 10, lambda step: None)
    with seam(tiny.model):
        remove_foreseen(draft, ranked(2, 9), 20)
        again = calibration.measure(draft.reach, lambda score: False)
    assert draft.foreseen >= foresee.PASSES
    assert draft.price(draft.reach) < 1 and draft.lost <= 20
    assert draft.score.expected == pytest.approx(again.expected, abs=1e-3)
    assert any(" more" in step.what and step.accepted for step in draft.steps)
