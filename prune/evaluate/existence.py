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


def is_there(sample: Sample) -> bool | None:
    """Whether what a question asks for is there; None if it is not answered by yes or no."""
    return _is_yes(sample, sample.answer) if is_existence(sample) else None


def existence(
    samples: Sequence[Sample], before: Sequence[Answer], after: Sequence[Answer]
) -> Existence | None:
    """Compare two models on the existence questions among samples (one answer of each per sample).

    Returns:
        None if no question asks about an absent thing.
    """
    rows = [
        (_is_yes(s, s.answer), _is_yes(s, b.choice), _is_yes(s, a.choice), b.video)
        for s, b, a in zip(samples, before, after, strict=True)
        if is_existence(s)
    ]
    absent = [row[1:] for row in rows if not row[0]]
    if not absent:
        return None
    first, second, videos = zip(*absent, strict=True)
    there = [(not before, not after, video) for true, before, after, video in rows if true]
    missed = tuple(zip(*there, strict=True)) if there else None
    return Existence(
        len(rows),
        len(absent),
        len(set(videos)),
        sum(one != other for one, other in zip(first, second, strict=True)),
        proportion(first, videos),
        proportion(second, videos),
        paired_difference(first, second, videos),
        100 * sum(said - true for true, said, _, _ in rows) / len(rows),
        100 * sum(said - true for true, _, said, _ in rows) / len(rows),
        proportion(missed[0], missed[2]) if missed else None,
        proportion(missed[1], missed[2]) if missed else None,
        paired_difference(*missed) if missed else None,
    )


def _is_yes(sample: Sample, option: int) -> bool:
    return sample.options[option].strip().lower() == YES
