"""`prune clips`: the benchmark of the embedded models."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune clips --out clips --per-task 20",
    "quick-start.md",
)
def clips(
    folder: Annotated[Path, typer.Option("--out", help="Where the clips and JSONL files go.")],
    per_task: Annotated[int, typer.Option(min=1, help="Clips for each task.")] = 20,
    tasks: Annotated[
        Literal["shapes", "events"],
        typer.Option(help="The six tasks of tiny, or the twelve of tiny-deep."),
    ] = "shapes",
    seed: Annotated[int, typer.Option(help="Seed of the clips.")] = 0,
    open: Annotated[
        bool,
        typer.Option(
            "--open", help="Also the same questions without options, and events to describe."
        ),
    ] = False,
    chats: Annotated[
        bool, typer.Option("--chats", help="Also behind earlier turns about the same clip.")
    ] = False,
) -> None:
    """Write the benchmark of the models that ship with prune: MP4 clips with questions."""
    from prune.workflows.clips import draw_clips

    for path in draw_clips(folder, per_task, seed, open, chats, tasks):
        out.print(path)
