"""The interface of progress bars, and the bar that shows nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Moves an open progress bar."""

    def __call__(self, steps: int, note: str = "") -> None:
        """Add finished steps, and replace the text beside the bar by `note`."""
        ...


Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a progress bar: `with progress(title, total) as advance: advance(1)`."""


def silent(title: str, total: int) -> AbstractContextManager[Advance]:
    """Progress that is not shown: the default of every workflow."""
    return nullcontext(_ignore)


def _ignore(steps: int, note: str = "") -> None: ...
