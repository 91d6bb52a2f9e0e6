"""Answers corrected and broken when the leading evidence is removed from every clip."""

from dataclasses import dataclass

from prune.results.interval import Interval

WITHIN = 0.1
"""Share of the clip within which a correction counts (CSR@10% of 2509.22496)."""


@dataclass(frozen=True)
class Treatment:
    """Shares in percent, with intervals, by share of the clip removed (`GONE`).

    Attributes:
        wrong, right: number of incorrect and correct answers before.
        gone: shares of the clip.
        mended: of the incorrect answers, those that become correct; empty without any.
        broken: of the correct answers, those that become incorrect; empty without any.
        accuracy: of all answers then.
    """

    wrong: int
    right: int
    gone: tuple[float, ...]
    mended: tuple[Interval, ...]
    broken: tuple[Interval, ...]
    accuracy: tuple[Interval, ...]
