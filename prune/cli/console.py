"""The terminal: output, errors and progress bars."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from prune.journal.progress import Advance


def inert(text: str, spared: str = "") -> str:
    """The text with every character that is not visible written as an escape, `spared` aside."""
    return "".join(
        c if c.isprintable() or c in spared else c.encode("unicode_escape").decode() for c in text
    )


class _Literal(Console):
    """A terminal on which names and messages of others mean nothing: no markup, no escapes."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """See `rich.console.Console`; also used for the cells of tables."""
        return super().render_str(inert(text, "\n"), **settings)


out = _Literal(markup=False, emoji=False)
err = _Literal(markup=False, emoji=False, stderr=True)


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
