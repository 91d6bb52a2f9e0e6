"""The terminal: output, errors and progress bars."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from prune.journal.progress import Advance

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(title: str, total: int) -> Iterator["Advance"]:
    """A progress bar on stderr, with room for a note beside it (`prune.journal.progress`).

    Under `torchrun` the first process alone shows it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    others = os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=err, disable=others) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(steps: int, note: str = "") -> None:
            bar.update(task, advance=steps, note=note)

        yield advance
