"""`prune trace`: find the pathways."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, Frames, Model, app, report_failed
from prune.console import out, progress


class Which(StrEnum):
    """Samples whose knockouts are run."""

    correct = "correct"
    wrong = "wrong"
    all = "all"


@app.command()
def trace(
    model: Model,
    data: Data,
    run: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished trace goes on.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    window: Annotated[
        int | None, typer.Option(min=1, help="Layers knocked out together [default: 9 of 32].")
    ] = None,
    frames: Frames = 8,
    samples: Annotated[Which, typer.Option(help="Which answers to trace.")] = Which.correct,
    pathway: Annotated[
        list[str] | None,
        typer.Option(help="What to knock out, such as 'video->question,options'; repeat for more."),
    ] = None,
    exact_reference: Annotated[
        bool, typer.Option("--exact-reference", help="The slow way: each knockout from the start.")
    ] = False,
) -> None:
    """Find the pathways: knock out attention edges and watch the answer's probability."""
    from prune.models import open_model
    from prune.pathways import TRACED, find_pathway
    from prune.stages import trace_model
    from prune.trace.shares import process

    found = trace_model(
        open_model(model, dense=True),
        data,
        run,
        progress,
        limit=limit,
        window=window,
        num_frames=frames,
        which=samples.value,
        exact_reference=exact_reference,
        pathways=[find_pathway(text) for text in pathway] if pathway else TRACED,
    )
    if process()[0] > 0:
        return
    counts = found.counts()
    out.print(
        f"{counts['traced']} of {counts['samples']} samples traced "
        f"({counts['correct']} right)\nFigure  {run / 'flow.png'}"
    )
    report_failed(found.failed)
