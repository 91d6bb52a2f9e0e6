"""The terminal: output, errors and progress bars."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

out = Console()
err = Console(stderr=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields the function that advances it.

    Of several processes under `torchrun`, the first one shows it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    others = os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=err, disable=others) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n: bar.advance(task, n)
