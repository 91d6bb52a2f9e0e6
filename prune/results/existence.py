"""Hallucination counts: yes-or-no questions about things that are absent."""

from dataclasses import dataclass

from prune.results.interval import Interval


@dataclass(frozen=True)
class Existence:
    """Answers of two models to the same yes-or-no questions; shares in percent, with intervals.

    Attributes:
        questions: how many there are.
        absent: how many of them ask for what is not there.
        videos: how many videos those are about.
        changed: how many of the absent things one model says are there, and the other not.
        before, after: share of the absent things that are said to be there.
        change: after minus before, paired, in points.
        yes_bias_before, yes_bias_after: share of answers that are yes, less that of questions whose
            answer is yes, in points.
        missed_before, missed_after: share of the things that are there which are said not to be;
            None without a question about one.
        missed_change: after minus before, paired, in points.
    """

    questions: int
    absent: int
    videos: int
    changed: int
    before: Interval
    after: Interval
    change: Interval
    yes_bias_before: float
    yes_bias_after: float
    missed_before: Interval | None = None
    missed_after: Interval | None = None
    missed_change: Interval | None = None
