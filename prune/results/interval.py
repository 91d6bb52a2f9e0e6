"""Estimates with their confidence intervals, and how many samples would narrow them enough."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)
"""Standard errors on either side of an estimate in its 95% interval."""

FEWEST = 10
"""Videos without which a mean has no interval: fewer hardly vary over resamples."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Mean:
    """A mean with its 95% interval by video.

    Attributes:
        low, high: None if there are fewer than `FEWEST` videos.
        n, videos: samples, and how many videos they are about.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    videos: int


def paired_bounds(size: float, change: float, changed: float) -> tuple[float, float]:
    """Bonett and Price's 95% interval of a paired difference of shares.

    Wald's, with one answer more lost and one more won, which keeps its coverage where few answers
    change (Journal of Educational and Behavioral Statistics 2012).

    Args:
        size: how many independent samples the answers are worth.
        change: share of them that were won, less that of those that were lost.
        changed: share of them that were won or lost.
    """
    total = size + 2
    middle = size * change / total
    spread = Z * math.sqrt(((size * changed + 2) / total - middle**2) / total)
    return middle - spread, middle + spread


def growth_that_decides(difference: Interval, changed: float, limit: float) -> float | None:
    """How many times as many samples would put an interval of `paired_bounds` beside a limit.

    The interval narrows faster than with the root of their number where few answers changed: the
    two answers that are added then are most of it.

    Args:
        difference: in points, not clipped.
        changed: share of the answers that were won or lost.
        limit: in points.

    Returns:
        None if the estimate is the limit, so that no number would.
    """
    change = difference.value / 100
    if difference.value == limit:
        return None

    def width(size: float) -> float:
        low, high = paired_bounds(size, change, changed)
        return high - low

    def undecided(size: float) -> bool:
        low, high = paired_bounds(size, change, changed)
        return 100 * low <= limit < 100 * high

    now = _last(lambda size: 100 * width(size) > difference.high - difference.low)
    return _last(undecided) / now


def _last(holds: Callable[[float], bool]) -> float:
    """The largest size up to which something holds that does not hold for ever."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high
