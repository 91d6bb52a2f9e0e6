"""Answers corrected and broken when the leading evidence is removed from every clip."""

from dataclasses import dataclass

from prune.results.interval import Interval

WITHIN = 0.1
"""Share of the clip within which a correction counts (CSR@10% of 2509.22496)."""


@dataclass(frozen=True)
class Treatment:
    """Shares in percent, with intervals, by share of the clip taken out (`GONE`).

    Attributes:
        wrong, right: answers of each kind before.
        gone: shares of the clip.
        mended: of the wrong answers, those that are right then; none without wrong answers.
        broken: of the right answers, those that are wrong then; none without right answers.
        accuracy: of all answers then.
    """

    wrong: int
    right: int
    gone: tuple[float, ...]
    mended: tuple[Interval, ...]
    broken: tuple[Interval, ...]
    accuracy: tuple[Interval, ...]
