"""An estimate with its confidence interval."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval."""

    value: float
    low: float
    high: float
