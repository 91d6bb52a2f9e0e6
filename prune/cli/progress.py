"""Progress on stderr: a bar on a terminal, and lines where stderr is a file or a pipe."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from prune.cli.console import err, shown
from prune.journal.progress import silent

if TYPE_CHECKING:
    from prune.journal.progress import Advance

STEP = 0.05
"""Share of the work after which another line is written."""

PAUSE = 30.0
"""Seconds after which one is written in any case, once something was done."""


@contextmanager
def progress(title: str, total: int) -> Iterator["Advance"]:
    """Progress on stderr, with room for a note beside it (`prune.journal.progress`).

    Under `torchrun` the first process alone shows it; with `--quiet` none does. What ends early
    says after how many steps.
    """
    start, done, last, ended = time.monotonic(), 0, "", "stopped"

    def advance(steps: int, note: str = "") -> None:
        nonlocal done, last
        done, last = done + steps, note
        show(steps, note)

    try:
        with _opened(title, total) as show:
            yield advance
        ended = "done"
    finally:
        if not _hidden():
            if done < total:
                why = f": {last}" if last else ""
                of = "of at most" if ended == "done" else "of"
                err.print(f"{title} {ended} after {done:,} {of} {total:,}{why}", soft_wrap=True)
            if shown.verbose:
                err.print(f"{title} took {time.monotonic() - start:.1f} s", soft_wrap=True)


def _hidden() -> bool:
    return shown.quiet or os.environ.get("RANK", "0") != "0"


def _opened(title: str, total: int) -> AbstractContextManager["Advance"]:
    if _hidden():
        return silent(title, total)
    return _bar(title, total) if err.is_terminal else _lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator["Advance"]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda steps, note="": bar.update(task, advance=steps, note=note)


@contextmanager
def _lines(
    title: str, total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator["Advance"]:
    """A line per `STEP` of the work or `PAUSE` seconds, with the time left."""
    start = said_at = clock()
    done = said = 0

    def advance(steps: int, note: str = "") -> None:
        nonlocal done, said, said_at
        done += steps
        now = clock()
        due = done >= min(total, said + max(1, STEP * total)) and done > said
        if not due and now - said_at < PAUSE:
            return
        said, said_at = done, now
        left = f", {_spoken((now - start) / done * (total - done))} left" if done else ""
        share = f" ({100 * done // total}%)" if total else ""
        more = f"  {note}" if note else ""
        err.print(f"{title} {done:,}/{total:,}{share}{left}{more}", soft_wrap=True)

    yield advance


def _spoken(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
