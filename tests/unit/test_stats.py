"""Intervals and tests, against values worked out by hand or by the textbook."""

import numpy as np
import pytest

from prune.evaluate.paired import accuracy_report
from prune.evaluate.stats import bootstrap_band, mcnemar, paired_difference, proportion
from prune.results.answer import Answer


def test_wilson() -> None:
    interval = proportion([True] * 81 + [False] * 182)
    # Newcombe (1998), table I: 81 of 263.
    assert (interval.low, interval.high) == pytest.approx((25.53, 36.62), abs=0.01)


def test_paired_difference_and_mcnemar() -> None:
    before = [True] * 50 + [False] * 10
    after = [True] * 44 + [False] * 6 + [True] * 2 + [False] * 8
    difference = paired_difference(before, after)
    assert difference.value == pytest.approx(100 * (2 - 6) / 60)
    middle = (2.5 - 6.5) / 62
    spread = 1.959964 * np.sqrt((9 / 62 - middle**2) / 62)
    assert difference.low == pytest.approx(100 * (middle - spread), abs=1e-4)
    assert difference.high == pytest.approx(100 * (middle + spread), abs=1e-4)
    # Exact binomial: 2 * P(X <= 2 | 8, 1/2) = 2 * 37 / 256.
    assert mcnemar(before, after) == pytest.approx(74 / 256)
    assert mcnemar(before, before) == 1.0


def test_nothing_changed_still_has_an_interval() -> None:
    difference = paired_difference([True] * 40, [True] * 40)
    assert difference.value == 0 and difference.low < 0 < difference.high


def test_bootstrap_band_covers_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, (200, 4))
    mean, low, high = bootstrap_band(values)
    assert (low < mean).all() and (mean < high).all()
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.15)
    assert (bootstrap_band(values)[1] == low).all(), "seeded"


def _answers(right: str) -> list[Answer]:
    tasks = "aabb"
    return [Answer(str(i), tasks[i], int(r), 1, r == "1", (0.5, 0.5)) for i, r in enumerate(right)]


def test_accuracy_report() -> None:
    report = accuracy_report(
        _answers("1110"), _answers("1011"), [_answers("0000"), _answers("1000")]
    )
    assert [(t.task, t.n, t.dense.value, t.pruned.value, t.random) for t in report.tasks] == [
        ("a", 2, 100.0, 50.0, 25.0),
        ("b", 2, 50.0, 100.0, 0.0),
    ]
    assert report.overall.difference.value == 0.0
    assert report.random == (0.0, 25.0)
    assert [flip.id for flip in report.flipped] == ["1", "3"]
