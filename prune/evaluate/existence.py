"""Hallucination: how often a model reports things that are not there."""

from collections.abc import Sequence

from prune.evaluate.stats import paired_difference, proportion
from prune.inputs.samples import Sample
from prune.results.answer import Answer
from prune.results.existence import Existence

YES, NO = "yes", "no"


def is_existence(sample: Sample) -> bool:
    """Whether a question is answered by yes or no."""
    return {option.strip().lower() for option in sample.options} == {YES, NO}


def existence(
    samples: Sequence[Sample], before: Sequence[Answer], after: Sequence[Answer]
) -> Existence | None:
    """Compare two models on the existence questions among samples (one answer of each per sample).

    Returns:
        None if no question asks about an absent thing.
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
