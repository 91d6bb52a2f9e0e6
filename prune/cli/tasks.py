"""`--tasks`: the questions of some tasks alone."""

from pathlib import Path

from prune.errors import UsageError
from prune.inputs.samples import Sample


def of_tasks(samples: list[Sample], tasks: str | None, data: Path) -> list[Sample]:
    """The samples of `tasks`, names with commas between them; all without.

    Raises:
        UsageError: `data`, where they are from, has no such task.
    """
    if tasks is None:
        return samples
    wanted = set(tasks.split(","))
    unknown = wanted - {s.task for s in samples}
    if unknown:
        raise UsageError(f"--tasks: {data} has no task {', '.join(sorted(unknown))}")
    return [s for s in samples if s.task in wanted]
