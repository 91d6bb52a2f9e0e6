"""The terminal: output, errors, and how much of both is shown."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text


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


@dataclass
class Shown:
    """How much a command shows.

    Attributes:
        quiet: no progress and no tables; errors, warnings and `--json` remain.
        verbose: also how long each stage took, and what transformers logs.
    """

    quiet: bool = False
    verbose: bool = False


shown = Shown()
"""Of this process: `prune --quiet`, `prune --verbose`."""
