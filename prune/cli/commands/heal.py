"""`prune heal`: a short fine-tuning with the plan on."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, Frames, Model, app
from prune.cli.console import out, progress


@app.command()
def heal(
    model: Model,
    plan_file: Annotated[Path, typer.Option("--plan", help="The plan to train under.")],
    data: Data,
    test: Annotated[Path, typer.Option(help="Held-out JSONL to report on.")],
    target: Annotated[Path, typer.Option("--out", help="The new model folder.")],
    frames: Frames = 8,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 300,
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-3,
    rank: Annotated[
        int, typer.Option(min=0, help="Rank of LoRA; 0 trains every weight of the decoder.")
    ] = 16,
    seed: Annotated[int, typer.Option(help="Order of the batches.")] = 0,
) -> None:
    """Fine-tune a model under its plan towards its own dense answers, for a few hundred steps."""
    from prune.heal import Recipe
    from prune.healed import NAME, heal_model
    from prune.models import open_model
    from prune.plan.plan import Plan
    from prune.samples import load_samples

    found = heal_model(
        open_model(model, dense=True),
        Plan.load(plan_file),
        load_samples(data),
        load_samples(test),
        frames,
        Recipe(steps, rate, rank, seed),
        target,
        progress,
    )
    by = found.difference
    out.print(
        f"accuracy on {found.n} held-out samples: dense {found.dense:.1f}%, pruned "
        f"{found.pruned:.1f}%, healed {found.healed:.1f}% ({by.value:+.1f} "
        f"\\[{by.low:+.1f}, {by.high:+.1f}] of dense, McNemar p = {found.p_value:.2g})"
    )
    out.print(f"Model  {target}\nPlan   {target / NAME}")
