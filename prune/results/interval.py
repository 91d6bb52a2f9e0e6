"""Estimates with their confidence intervals."""

from dataclasses import dataclass

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
