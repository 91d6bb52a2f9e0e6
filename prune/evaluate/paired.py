"""Two models, or a model with and without a plan, on the same samples."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.errors import BadInputError
from prune.evaluate.answers import Answer
from prune.evaluate.flips import Flip, flips
from prune.evaluate.stats import Interval, mcnemar, paired_difference, proportion


@dataclass(frozen=True)
class TaskRow:
    """Accuracy on one task (restricted to the options), in percent."""

    task: str
    n: int
    dense: Interval
    pruned: Interval
    random: float | None
    difference: Interval


@dataclass(frozen=True)
class AccuracyReport:
    """Dense against pruned on the same held-out samples.

    Attributes:
        overall: all tasks together.
        random: accuracy of each seed with as many edges removed at random.
        p_value: exact McNemar test that pruning changes accuracy.
        free_dense, free_pruned: accuracy over the whole vocabulary, in percent.
        flipped: the samples whose option changed, worst first.
    """

    tasks: tuple[TaskRow, ...]
    overall: TaskRow
    random: tuple[float, ...]
    p_value: float
    free_dense: float
    free_pruned: float
    flipped: tuple[Flip, ...]


def accuracy_report(
    dense: Sequence[Answer], pruned: Sequence[Answer], random: Sequence[Sequence[Answer]]
) -> AccuracyReport:
    """Compare answers to the same samples, in the same order; `random` holds one list a seed."""
    tasks = sorted({a.task for a in dense})
    before, after = [a.correct for a in dense], [a.correct for a in pruned]
    n = len(dense)
    return AccuracyReport(
        tasks=tuple(_row(task, dense, pruned, random) for task in tasks),
        overall=_row("all", dense, pruned, random),
        random=tuple(100 * sum(a.correct for a in answers) / n for answers in random),
        p_value=mcnemar(before, after),
        free_dense=100 * sum(a.free_correct for a in dense) / n,
        free_pruned=100 * sum(a.free_correct for a in pruned) / n,
        flipped=flips(dense, pruned),
    )


def paired_report(before: Sequence[Answer], after: Sequence[Answer]) -> AccuracyReport:
    """Two models on the samples that both answered, paired by sample id.

    Raises:
        BadInputError: there is none.
    """
    known = {answer.id: answer for answer in before}
    both = [answer for answer in after if answer.id in known]
    if not both:
        raise BadInputError("the two models have no answered sample in common")
    return accuracy_report([known[answer.id] for answer in both], both, [])


def _row(
    task: str,
    dense: Sequence[Answer],
    pruned: Sequence[Answer],
    random: Sequence[Sequence[Answer]],
) -> TaskRow:
    keep = [i for i, a in enumerate(dense) if task in ("all", a.task)]
    before, after = [dense[i].correct for i in keep], [pruned[i].correct for i in keep]
    drawn = [100 * sum(answers[i].correct for i in keep) / len(keep) for answers in random]
    return TaskRow(
        task,
        len(keep),
        proportion(before),
        proportion(after),
        sum(drawn) / len(drawn) if drawn else None,
        paired_difference(before, after),
    )
