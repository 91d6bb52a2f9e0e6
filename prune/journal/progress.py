"""What stages ask of a progress bar."""

from collections.abc import Callable
from contextlib import AbstractContextManager

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar: `with progress(title, total) as advance: advance(1)`."""
