"""Intervals and tests for accuracies and their paired differences, in points."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from prune.results.interval import Interval


def proportion(right: Sequence[bool]) -> Interval:
    """Accuracy in percent with Wilson's interval."""
    result = stats.binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    return Interval(100 * sum(right) / len(right), 100 * result.low, 100 * result.high)


def proportion_of(percent: float, n: int) -> Interval:
    """`proportion` from an accuracy in percent of `n` samples."""
    right = round(percent * n / 100)
    return proportion([True] * right + [False] * (n - right))


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> Interval:
    """Accuracy after minus before on the same samples, in points.

    The interval is Agresti and Min's (Statistics in Medicine 2005): Wald's, with half a sample
    added to each cell of the 2 x 2 table, which keeps its coverage when few answers change.
    """
    n = len(before)
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    won = sum(a and not b for b, a in zip(before, after, strict=True))
    size, down, up = n + 2, lost + 0.5, won + 0.5
    middle = (up - down) / size
    spread = stats.norm.ppf(0.975) * np.sqrt((up + down) / size - middle**2) / np.sqrt(size)
    value = 100 * (won - lost) / n
    low, high = 100 * (middle - spread), 100 * (middle + spread)
    return Interval(value, float(min(low, value)), float(max(high, value)))


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """Exact two-sided McNemar p-value that as many answers are lost as won."""
    changed = [a for b, a in zip(before, after, strict=True) if a != b]
    return float(stats.binomtest(sum(changed), len(changed)).pvalue) if changed else 1.0


def bootstrap_band(
    values: NDArray[np.float64], seed: int = 0, resamples: int = 1000
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean over samples of `[N, L]` and its 95% percentile bootstrap band: three `[L]`."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (resamples, len(values)))
    # Draw counts per sample: a product with them needs no copy of the values per resample.
    drawn = np.stack([np.bincount(pick, minlength=len(values)) for pick in picks])
    low, high = np.percentile(drawn @ values / len(values), [2.5, 97.5], axis=0)
    return values.mean(0), low, high
