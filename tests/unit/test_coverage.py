"""Coverage of clustered intervals and false alarms of clustered tests, by seeded simulation."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from prune.evaluate.stats import bootstrap_band, mcnemar, paired_difference, proportion

VIDEOS, QUESTIONS = (5, 10, 20), (1, 3, 20, 0)
"""Simulated sizes; 0 questions: 1 to 20 per video, drawn."""

# Share of videos that lose and gain, how much of their questions do, and the other questions'
# chance to be lost and won.
FATES = {
    "whole videos change, no loss": (1 / 6, 1 / 6, 1.0, 0.0, 0.0),
    "half of a video changes, no loss": (1 / 6, 1 / 6, 0.5, 0.0, 0.0),
    "independent changes, no loss": (0.0, 0.0, 0.0, 0.1, 0.1),
    "few independent changes": (0.0, 0.0, 0.0, 0.02, 0.01),
    "one video in twenty is lost": (0.05, 0.0, 1.0, 0.0, 0.0),
    "one video in ten is lost": (0.1, 0.0, 1.0, 0.0, 0.0),
    "videos and single questions": (0.1, 0.05, 0.8, 0.01, 0.01),
}
Draw = tuple[NDArray[np.bool_], NDArray[np.bool_], list[str], float]
"""Answers before and after, video of each, and the true difference in points."""


def draws(fate: str, videos: int, questions: int, count: int) -> Iterator[Draw]:
    lose, gain, part, lost, won = FATES[fate]
    other = 1 - lose - gain
    truth = 100 * (part * (gain - lose) + other * (won - lost))
    rng = np.random.default_rng([videos, questions, *map(ord, fate)])
    for _ in range(count):
        sizes = np.full(videos, questions) if questions else rng.integers(1, 21, videos)
        video = np.repeat(np.arange(videos), sizes)
        kind, chance = rng.random(videos)[video], rng.random(len(video))
        fall = np.where(kind < lose, part, np.where(kind < lose + gain, 0.0, lost))
        rise = np.where(kind < lose, 0.0, np.where(kind < lose + gain, part, won))
        down, up = chance < fall, (chance >= fall) & (chance < fall + rise)
        same = (rng.random(len(video)) < 0.8) & ~up & ~down
        yield same | down, same | up, [*map(str, video)], truth


def covered(fate: str, videos: int, questions: int, count: int) -> tuple[float, float]:
    """Percent of draws whose interval holds the truth, and whose p-value is below 0.05."""
    held, alarms = 0, 0
    for before, after, video, truth in draws(fate, videos, questions, count):
        interval = paired_difference(before.tolist(), after.tolist(), video)
        assert -100 <= interval.low <= interval.value <= interval.high <= 100
        held += interval.low - 1e-9 <= truth <= interval.high + 1e-9
        alarms += mcnemar(before.tolist(), after.tolist(), video) < 0.05
    return 100 * held / count, 100 * alarms / count


# Where few videos can change, nearly every draw is held: there are too few outcomes for 95%.
@pytest.mark.parametrize("fate", FATES)
def test_intervals_hold_the_truth_and_tests_seldom_cry_wolf(fate: str) -> None:
    found = [covered(fate, v, q, 100) for v in VIDEOS for q in QUESTIONS]
    assert np.mean([coverage for coverage, _ in found]) >= 93
    assert min(coverage for coverage, _ in found) >= 90, "of 100 draws"
    if "no loss" in fate:
        assert np.mean([alarms for _, alarms in found]) <= 6


def test_the_case_that_the_textbook_fails() -> None:
    """30 videos x 20 questions, one in six blurred and one in six sharpened, no loss on average."""
    fate = "half of a video changes, no loss"
    coverage, alarms = covered(fate, 30, 20, 400)
    assert 93 <= coverage <= 97 and alarms <= 6
    held = 0
    for before, after, _, truth in draws(fate, 30, 20, 400):
        interval = paired_difference(before.tolist(), after.tolist())
        held += interval.low <= truth <= interval.high
    assert held / 400 < 0.7, "questions counted as independent"


@pytest.mark.slow
@pytest.mark.parametrize("videos", (5, 8, 12, 20, 30, 60))
@pytest.mark.parametrize("fate", FATES)
def test_every_size_alone(fate: str, videos: int) -> None:
    found: list[float] = []
    for questions in (1, 2, 5, 20, 0):
        coverage, alarms = covered(fate, videos, questions, 1000)
        assert coverage >= 92.5, questions
        if videos == 60 and questions == 20 and fate == "half of a video changes, no loss":
            assert coverage <= 97.5, questions
        if "no loss" in fate:
            found.append(alarms)
    # The standard error of a rate of 5% over 1000 draws is 0.7 points.
    assert max(found, default=0) <= 7 and sum(found) <= 6 * len(found)


@pytest.mark.parametrize("videos", (10, 24))
def test_bands_and_accuracies_hold_the_truth(videos: int) -> None:
    rng = np.random.default_rng(videos)
    bands = shares = 0
    for _ in range(300):
        sizes = rng.integers(1, 11, videos)
        video = np.repeat(np.arange(videos), sizes)
        key = [*map(str, video)]
        values = -20 + 10 * rng.normal(size=videos)[video] + 10 * rng.normal(size=len(video))
        _, low, high = bootstrap_band(values[:, None], key, resamples=400)
        bands += bool(low[0] <= -20 <= high[0])
        right = rng.random(len(video)) < rng.beta(4, 2, videos)[video]
        share = proportion(right.tolist(), key)
        shares += share.low <= 100 * 4 / 6 <= share.high
    assert 92 <= bands / 3 <= 98
    assert 93 <= shares / 3 <= 98
