"""Numbers of frames, with commas between them, as the value of an option."""

from typing import Annotated

import typer

from prune.errors import UsageError
from prune.inputs.frame_counts import frame_counts

TracedFrames = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="N,...",
        help="Frames of every clip, or several such as 4,8,16 (default: the recipe's, or 8).",
    ),
]
ReportedFrames = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="N,...",
        help="Frames of every clip, or several such as 4,8,16 (default: as traced, or 8).",
    ),
]

AnsweredFrames = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="N,...",
        help="Frames of every clip, or several such as 4,8,16 (default: as exported, or 8).",
    ),
]


def counts_of(text: str | None) -> tuple[int, ...] | None:
    """The numbers in the value of `--frames`; None without one.

    Raises:
        UsageError: it does not consist of different numbers of 1 and more.
    """
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--frames {text!r}: expected numbers such as 8 or 4,8,16")
    return frame_counts([int(part) for part in parts])
