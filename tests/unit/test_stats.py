"""Intervals and tests, against values worked out by hand or by the textbook."""

import numpy as np
import pytest
from scipy import stats

from prune.cli.tables.accuracy import accuracy_table
from prune.evaluate.clusters import codes_of, effective_size
from prune.evaluate.paired import accuracy_report, paired_report
from prune.evaluate.stats import (
    FEWEST,
    bootstrap_band,
    mcnemar,
    paired_difference,
    proportion,
    proportion_of,
)
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
    middle = (3 - 7) / 62
    spread = 1.959964 * np.sqrt((10 / 62 - middle**2) / 62)
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


def test_one_question_per_video_is_the_textbook() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 60, 600):
        before, after = (rng.random(n) < 0.8).tolist(), (rng.random(n) < 0.7).tolist()
        videos = [*map(str, range(n))]
        assert paired_difference(before, after) == paired_difference(before, after, videos)
        changed = [a for b, a in zip(before, after, strict=True) if a != b]
        exact = stats.binomtest(sum(changed), len(changed)).pvalue if changed else 1.0
        assert mcnemar(before, after, videos) == pytest.approx(exact)
        wilson = stats.binomtest(sum(before), n).proportion_ci(method="wilson")
        found = proportion(before, videos)
        assert (found.low, found.high) == pytest.approx((100 * wilson.low, 100 * wilson.high))
        assert found == proportion_of(found.value, n)


def test_the_sign_flip_test_is_scipys() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        videos = [*map(str, rng.integers(0, 9, 40))]
        before, after = (rng.random(40) < 0.8).tolist(), (rng.random(40) < 0.5).tolist()
        change = np.array(after, float) - np.array(before, float)
        sums = np.bincount(codes_of(videos, 40), weights=change)
        exact = stats.permutation_test(
            (sums,), np.sum, permutation_type="samples", n_resamples=np.inf
        )
        assert mcnemar(before, after, videos) == pytest.approx(exact.pvalue)


def test_the_effective_size_lies_between_videos_and_questions() -> None:
    rng = np.random.default_rng(2)
    videos = np.repeat(np.arange(30), 20)
    whole, alone = (rng.random(30) < 0.5)[videos].astype(float), rng.normal(size=600)
    assert effective_size(whole, videos) == pytest.approx(30, rel=0.05)
    assert effective_size(alone, videos) > 450
    assert effective_size(np.zeros(600), videos) == pytest.approx(30)
    assert effective_size(alone, np.zeros(600, int)) == 1, "one video, however often it is asked"
    assert effective_size(np.ones(1), np.zeros(1, int)) == 1


def test_differences_stay_within_a_hundred_points() -> None:
    for n in (1, 2, 5):
        lost = paired_difference([True] * n, [False] * n)
        assert -100 == lost.low == lost.value < lost.high <= 100
        won = paired_difference([False] * n, [True] * n)
        assert (won.low, won.high) == (-lost.high, 100)


def test_fewer_than_ten_videos_have_no_band() -> None:
    values = np.random.default_rng(0).normal(3, 1, (5 * FEWEST, 2))
    videos = [str(i // 5) for i in range(len(values))]
    mean, low, high = bootstrap_band(values, videos)
    assert (low < mean).all() and (mean < high).all()
    videos[-5:] = videos[:5]
    mean, low, high = bootstrap_band(values, videos)
    assert (mean == values.mean(0)).all() and np.isnan([low, high]).all()


def _answers(right: str) -> list[Answer]:
    tasks = "aabb"
    return [
        Answer(str(i), tasks[i], int(r), 1, r == "1", (0.5, 0.5), "ab"[i // 2])
        for i, r in enumerate(right)
    ]


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


def test_a_task_named_all_among_others_is_a_task() -> None:
    def one(name: str, task: str, right: bool) -> Answer:
        return Answer(name, task, int(not right), 0, right, (0.6, 0.4), name)

    answers = [one(f"a{i}", "all", True) for i in range(2)]
    answers += [one(f"b{i}", "count", False) for i in range(6)]
    report = paired_report(answers, answers)
    rows = {row.task: (row.n, row.dense.value) for row in report.tasks}
    assert rows == {"all": (2, 100.0), "count": (6, 0.0)}
    assert (report.overall.n, report.overall.dense.value) == (8, 25.0)
    column = list(accuracy_table(answers).columns[1].cells)
    assert column == ["2", "6", "8"]
