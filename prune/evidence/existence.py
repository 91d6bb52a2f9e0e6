"""Hallucination: does the model say that things are there which are not?"""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.evaluate.answers import Answer
from prune.evaluate.stats import Interval, paired_difference, proportion
from prune.samples import Sample

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Existence:
    """Answers of two models to the same yes-or-no questions; shares in percent, with intervals.

    Attributes:
        questions: how many there are.
        absent: how many of them ask for what is not there.
        before, after: share of the absent things that are said to be there.
        change: after minus before, paired, in points.
        yes_bias_before, yes_bias_after: share of answers that are yes, less that of questions whose
            answer is yes, in points.
    """

    questions: int
    absent: int
    before: Interval
    after: Interval
    change: Interval
    yes_bias_before: float
    yes_bias_after: float


def is_existence(sample: Sample) -> bool:
    """Whether a question is answered by yes or no."""
    return {option.strip().lower() for option in sample.options} == {YES, NO}


def existence(
    samples: Sequence[Sample], before: Sequence[Answer], after: Sequence[Answer]
) -> Existence | None:
    """Compare two models on the existence questions among samples (one answer each of both).

    Returns:
        None where none of the questions asks for what is not there.
    """
    rows = [
        (_is_yes(s, s.answer), _is_yes(s, b.choice), _is_yes(s, a.choice))
        for s, b, a in zip(samples, before, after, strict=True)
        if is_existence(s)
    ]
    absent = [(b, a) for true, b, a in rows if not true]
    if not absent:
        return None
    first, second = ([row[i] for row in absent] for i in (0, 1))

    def bias(column: int) -> float:
        return 100 * sum(row[column] - row[0] for row in rows) / len(rows)

    return Existence(
        len(rows),
        len(absent),
        proportion(first),
        proportion(second),
        paired_difference(first, second),
        bias(1),
        bias(2),
    )


def _is_yes(sample: Sample, option: int) -> bool:
    return sample.options[option].strip().lower() == YES
