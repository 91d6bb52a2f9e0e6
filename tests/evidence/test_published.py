"""The searches and filters of EAGLE and TAM, against what was published, on fixed numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.evidence.baselines.tam import _rank_filter
from prune.evidence.objective import Objective
from prune.evidence.search import efficient, greedy
from tests.evidence.fakes import FakeScorer

CASES = json.loads(Path(__file__).with_name("eagle_efficient.json").read_text())["cases"]


def objective_of(case: dict[str, Any]) -> Objective:
    a, c = np.array(case["a"]), np.array(case["c"])

    def p(seen: np.ndarray) -> list[float]:
        x = seen.astype(float)
        return [1 / (1 + float(np.exp(-(case["b"] + a @ x + x @ c @ x))))]

    return Objective(FakeScorer(case["n"], p), [0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"n={case['n']}")
def test_orders_are_those_of_the_released_searches(case: dict[str, Any]) -> None:
    settings = (case["search_scope"], case["pending_samples"], case["update_step"])
    assert efficient(objective_of(case), lambda *_: None, *settings) == case["efficient"]
    assert greedy(objective_of(case)) == case["full"]


def test_the_rank_filter_of_tam_widens_with_the_variation() -> None:
    cells = np.array([[1.0, 2.0, 3.0], [4.0, 50.0, 6.0], [7.0, 8.0, 9.0]])
    ranked = np.array([1.0, 2, 3, 4, 6, 7, 8, 9, 50])
    variation = ranked.std() / ranked.mean()
    weight = [np.exp(-((place - 4) ** 2) / (2 * variation**2)) for place in range(9)]
    expected = sum(w * x for w, x in zip(weight, ranked, strict=True)) / sum(weight)
    assert _rank_filter(cells)[1, 1] == pytest.approx(expected)
    # Nearly alike neighbours leave the median.
    alike = 1 + 1e-5 * np.arange(9.0).reshape(3, 3)
    assert _rank_filter(alike)[1, 1] == pytest.approx(1 + 4e-5, abs=1e-12)
    assert _rank_filter(np.zeros((3, 3))).max() == 0
