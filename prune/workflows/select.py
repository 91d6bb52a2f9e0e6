"""Selection of samples from a data set: by task, by id, and the first N."""

from collections.abc import Sequence
from pathlib import Path

from prune.errors import UsageError
from prune.inputs.prompts import ANSWER_CUE
from prune.inputs.samples import Sample, load_samples


def select_samples(
    data: Path,
    tasks: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    cue: str = ANSWER_CUE,
) -> list[Sample]:
    """Load a data set and select samples of it.

    Args:
        data: JSONL of the samples.
        tasks: only samples of these tasks.
        ids: only these samples, in this order.
        limit: only the first ones of those, at most.
        cue: what a prompt ends with (`prune.inputs.samples.Sample`).

    Raises:
        BadInputError: the data set cannot be read.
        UsageError: it has no such task or sample.
    """
    samples = load_samples(data, cue)
    if tasks is not None:
        if unknown := set(tasks) - {s.task for s in samples}:
            raise UsageError(f"--tasks: {data} has no task {', '.join(sorted(unknown))}")
        samples = [s for s in samples if s.task in tasks]
    if ids:
        samples = by_id(samples, ids, data)
    return samples[:limit]


def by_id(samples: Sequence[Sample], ids: Sequence[str], data: Path) -> list[Sample]:
    """The samples with these ids, in this order; raises `UsageError` if `data` has no such one."""
    known = {s.id: s for s in samples}
    if unknown := [name for name in ids if name not in known]:
        raise UsageError(f"--sample: {data} has no sample {', '.join(unknown)}")
    return [known[name] for name in ids]
