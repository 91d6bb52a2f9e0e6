"""Paired comparison of two models, or of one with and without a plan, on the same samples."""

from collections.abc import Sequence

from prune.errors import BadInputError
from prune.evaluate.flips import flips
from prune.evaluate.stats import mcnemar, paired_difference, proportion
from prune.inputs.samples import ALL_TASKS
from prune.inputs.video_key import BY_PATH
from prune.results.accuracy import AccuracyReport, TaskRow
from prune.results.answer import Answer


def accuracy_report(
    dense: Sequence[Answer], pruned: Sequence[Answer], random: Sequence[Sequence[Answer]]
) -> AccuracyReport:
    """Compare answers to the same samples, in the same order; `random` holds one list per seed.

    Intervals and the test go by video (`prune.evaluate.stats`).
    """
    tasks: dict[str, list[int]] = {a.task: [] for a in sorted(dense, key=lambda a: a.task)}
    for place, a in enumerate(dense):
        tasks[a.task].append(place)
    before, after = [a.correct for a in dense], [a.correct for a in pruned]
    videos, n = [a.video for a in dense], len(dense)
    return AccuracyReport(
        tasks=tuple(_row(task, places, dense, pruned, random) for task, places in tasks.items()),
        overall=_row(ALL_TASKS, range(n), dense, pruned, random),
        random=tuple(100 * sum(a.correct for a in answers) / n for answers in random),
        p_value=mcnemar(before, after, videos),
        by_path=sum(video.startswith(BY_PATH) for video in set(videos)),
        free_dense=100 * sum(a.free_correct for a in dense) / n,
        free_pruned=100 * sum(a.free_correct for a in pruned) / n,
        flipped=flips(dense, pruned),
    )


def paired_report(before: Sequence[Answer], after: Sequence[Answer]) -> AccuracyReport:
    """Two models on the samples that both answered, paired by sample id.

    Raises:
        BadInputError: there are none.
    """
    known = {answer.id: answer for answer in before}
    both = [answer for answer in after if answer.id in known]
    if not both:
        raise BadInputError("the two models have no answered sample in common")
    return accuracy_report([known[answer.id] for answer in both], both, [])


def _row(
    task: str,
    places: Sequence[int],
    dense: Sequence[Answer],
    pruned: Sequence[Answer],
    random: Sequence[Sequence[Answer]],
) -> TaskRow:
    """The row of the answers at these places."""
    before, after = [dense[i].correct for i in places], [pruned[i].correct for i in places]
    videos = [dense[i].video for i in places]
    drawn = [100 * sum(answers[i].correct for i in places) / len(places) for answers in random]
    return TaskRow(
        task,
        len(places),
        len(set(videos)),
        proportion(before, videos),
        proportion(after, videos),
        sum(drawn) / len(drawn) if drawn else None,
        paired_difference(before, after, videos),
    )
