"""Intervals and tests for accuracies and their paired differences, in points.

Questions about one video are not independent. Where samples come with `videos`, a key per sample
(`prune.inputs.video_key`), intervals and tests go by video. If each sample has a video of its own,
which None stands for, they are the textbook's.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from prune.evaluate.clusters import codes_of, effective_size
from prune.results.interval import FEWEST, Interval, Mean, Z, paired_bounds


def proportion(right: Sequence[float], videos: Sequence[str] | None = None) -> Interval:
    """Accuracy in percent with Wilson's interval, for the effective number of samples.

    Args:
        right: whether each answer is; or shares between 0 and 1, whose variance is at most that of
            answers with the same mean, so that their interval is rather too wide.
        videos: see this module.
    """
    values = np.array(right, float)
    size = effective_size(values, codes_of(videos, len(values)))
    return _wilson(float(values.mean()), size)


def proportion_of(percent: float, n: int) -> Interval:
    """`proportion` from an accuracy in percent of `n` independent samples."""
    return _wilson(percent / 100, n)


def _wilson(share: float, size: float) -> Interval:
    middle = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    spread = Z * np.sqrt(share * (1 - share) / size + (Z / (2 * size)) ** 2) / (1 + Z**2 / size)
    low, high = max(0.0, 100 * (middle - spread)), min(100.0, 100 * (middle + spread))
    return Interval(100 * share, float(min(low, 100 * share)), float(max(high, 100 * share)))


def paired_difference(
    before: Sequence[float], after: Sequence[float], videos: Sequence[str] | None = None
) -> Interval:
    """Accuracy after minus before on the same samples, in points.

    The interval is that of `paired_bounds`, for the effective number of samples
    (`prune.evaluate.clusters`). As in `proportion`, shares may stand for answers.
    """
    change = np.array(after, float) - np.array(before, float)
    size = effective_size(change, codes_of(videos, len(change)))
    mean, changed = float(change.mean()), float(np.abs(change).mean())
    low, high = paired_bounds(size, mean, changed)
    value = 100 * mean
    low, high = max(-100.0, 100 * low), min(100.0, 100 * high)
    return Interval(value, min(low, value), max(high, value))


def mcnemar(
    before: Sequence[bool], after: Sequence[bool], videos: Sequence[str] | None = None
) -> float:
    """Exact two-sided p-value that as many answers are lost as won.

    It is the permutation test that exchanges the two models' answers to all questions about a
    video: the sign of each video's sum of changes is as likely to be the other. If each sample has
    a video of its own, that is McNemar's exact test.
    """
    change = np.array(after, float) - np.array(before, float)
    sums = np.bincount(codes_of(videos, len(change)), weights=change).round().astype(int)
    found = abs(int(sums.sum()))
    # The distribution of the sum over all signs, over [-reach, reach], by size of the change.
    chance = np.ones(1)
    for size, count in zip(*np.unique(np.abs(sums[sums != 0]), return_counts=True), strict=True):
        group = np.zeros(2 * size * count + 1)
        group[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, group)
    reach = len(chance) // 2
    return min(1.0, float(chance[np.abs(np.arange(-reach, reach + 1)) >= found].sum()))


def bootstrap_band(
    values: NDArray[np.float64],
    videos: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean over samples of `[N, L]` and its 95% bootstrap band, by video: three `[L]`.

    The band is the percentile interval, expanded as a t interval is for a small sample (Hesterberg,
    The American Statistician 2015). With fewer than `FEWEST` videos there is none (NaN).
    """
    mean = values.mean(0)
    codes = codes_of(videos, len(values))
    sizes = np.bincount(codes)
    count = len(sizes)
    if count < FEWEST:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, codes, values)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, count, (resamples, count))
    # Draw counts per video: a product with them needs no copy of the values per resample.
    drawn = np.stack([np.bincount(pick, minlength=count) for pick in picks])
    tail = stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1))
    low, high = np.percentile(
        drawn @ sums / (drawn @ sizes)[:, None], [100 * tail, 100 * (1 - tail)], axis=0
    )
    return mean, low, high


def mean_of(values: Sequence[float], videos: Sequence[str] | None = None) -> Mean:
    """Mean over samples with its bootstrap interval, if there are enough videos for one."""
    count = len(np.unique(codes_of(videos, len(values))))
    mean, low, high = (float(x[0]) for x in bootstrap_band(np.array(values)[:, None], videos))
    enough = count >= FEWEST
    return Mean(mean, low if enough else None, high if enough else None, len(values), count)
