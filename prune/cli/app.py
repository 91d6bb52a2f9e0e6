"""The application, its arguments that several commands share, and how failed samples end it."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prune.errors import SamplesFailedError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Make a video language model cheaper by removing the attention edges it does not need.\n\n"
    "Start with [bold]prune demo[/bold]: it traces, prunes and reports on a small real model.",
)

Model = Annotated[
    str,
    typer.Argument(
        help="A transformers folder, a hub id, [bold]tiny[/bold] or [bold]tiny-ov[/bold]."
    ),
]
Frames = Annotated[int, typer.Option(min=1, help="Frames sampled from every clip.")]
Data = Annotated[Path, typer.Option(help="JSONL: id, video, question, options, answer, task.")]


def command_line() -> str:
    """What was typed, for reports."""
    return shlex.join(["prune", *sys.argv[1:]])


def report_failed(failed: dict[str, str]) -> None:
    """End with exit code 5 if samples failed, after everything else was printed.

    Raises:
        SamplesFailedError: naming each of them.
    """
    if failed:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in failed.items())
        raise SamplesFailedError(f"{len(failed)} samples could not be used:{lines}")
