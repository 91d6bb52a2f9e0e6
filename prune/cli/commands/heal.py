"""`prune heal`: a short fine-tuning under the plan."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Cue, Data, Frames, Model, app
from prune.cli.console import out, progress
from prune.cli.media import takes_media
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE


@app.command()
@takes_media
def heal(
    model: Model,
    plans: Annotated[
        list[Path], typer.Option("--plan", help="A plan to train under; repeat for a front.")
    ],
    data: Data,
    test: Annotated[Path, typer.Option(help="Held-out JSONL to report on.")],
    target: Annotated[
        Path,
        typer.Option("--out", help="The new model folder; with several plans, a folder of them."),
    ],
    frames: Frames = 8,
    cue: Cue = ANSWER_CUE,
    media: Media = DEFAULT_MEDIA,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 300,
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-3,
    rank: Annotated[
        int, typer.Option(min=0, help="Rank of LoRA; 0 trains every weight of the decoder.")
    ] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the batch order.")] = 0,
) -> None:
    """Fine-tune a model under its plan towards its own dense answers, for a few hundred steps."""
    from prune.cli.tables.healed import healed_table
    from prune.plan.plan import RUN_PLAN_FILE
    from prune.workflows.heal import heal_front

    found = heal_front(
        model, plans, data, test, target, progress,
        num_frames=frames, cue=cue, media=media, steps=steps, rate=rate, rank=rank, seed=seed,
    )  # fmt: skip
    out.print(healed_table(found.results))
    for folder in found.folders:
        out.print(f"Model   {folder}\nPlan    {folder / RUN_PLAN_FILE}")
    out.print(f"Figure  {found.figure}")
