"""Selection of samples from a data set: by task, by id, and by a seeded draw."""

from collections.abc import Sequence
from pathlib import Path

from prune.errors import UsageError
from prune.inputs.draw import draw_samples
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING, Wording
from prune.inputs.samples import Sample, load_samples


def select_samples(
    data: Path,
    tasks: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    cue: str = ANSWER_CUE,
    per_task: int | None = None,
    seed: int = 0,
    media: Media = DEFAULT_MEDIA,
    wording: Wording = DEFAULT_WORDING,
) -> list[Sample]:
    """Load a data set and select samples of it.

    Args:
        data: JSONL of the samples.
        tasks: only samples of these tasks.
        ids: only these samples, in this order.
        limit, per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        cue: what a prompt ends with (`prune.inputs.samples.Sample`).
        media: how clips are read of which the data says nothing.
        wording: what the prompts say around a question.

    Raises:
        BadInputError: the data set cannot be read.
        UsageError: it has no such task or sample.
    """
    samples = load_samples(data, cue, media, wording)
    if tasks is not None:
        samples = of_tasks(samples, tasks, data)
    if ids:
        return by_id(samples, ids, data)[:limit]
    return draw_samples(samples, limit, per_task, seed)


def of_tasks(samples: Sequence[Sample], tasks: Sequence[str], data: Path) -> list[Sample]:
    """The samples of these tasks; raises `UsageError` if `data` has no such task."""
    if unknown := set(tasks) - {s.task for s in samples}:
        raise UsageError(f"--tasks: {data} has no task {', '.join(sorted(unknown))}")
    return [s for s in samples if s.task in tasks]


def by_id(samples: Sequence[Sample], ids: Sequence[str], data: Path) -> list[Sample]:
    """The samples with these ids, in this order; raises `UsageError` if `data` has no such one."""
    known = {s.id: s for s in samples}
    if unknown := [name for name in ids if name not in known]:
        raise UsageError(f"--sample: {data} has no sample {', '.join(unknown)}")
    return [known[name] for name in ids]
