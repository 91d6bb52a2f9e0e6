"""`prune heal`: a short fine-tuning with the plan on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, Frames, Model, app
from prune.cli.console import out, progress


@app.command()
def heal(
    model: Model,
    plans: Annotated[
        list[Path], typer.Option("--plan", help="A plan to train under; repeat for a front.")
    ],
    data: Data,
    test: Annotated[Path, typer.Option(help="Held-out JSONL to report on.")],
    target: Annotated[
        Path,
        typer.Option("--out", help="The new model folder; of several plans, one of folders."),
    ],
    frames: Frames = 8,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 300,
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-3,
    rank: Annotated[
        int, typer.Option(min=0, help="Rank of LoRA; 0 trains every weight of the decoder.")
    ] = 16,
    seed: Annotated[int, typer.Option(help="Order of the batches.")] = 0,
) -> None:
    """Fine-tune a model under its plan towards its own dense answers, for a few hundred steps."""
    from prune.checkpoint.load import open_model
    from prune.cli.tables.healed import healed_table
    from prune.errors import RefusedError, UsageError
    from prune.inputs.samples import load_samples
    from prune.io.files import write_atomically
    from prune.learn.heal import HealSettings
    from prune.plan.plan import RUN_PLAN_FILE, Plan
    from prune.report.figures.healed import healed_figure
    from prune.report.figures.style import save_figure
    from prune.workflows.heal import heal_model

    folders = {path: target / path.stem if len(plans) > 1 else target for path in plans}
    if len(set(folders.values())) < len(plans):
        raise UsageError("two plans have the same file name: their models would be one folder")
    if target.exists():
        raise RefusedError(f"{target}: exists already: choose another folder")
    learn, held_out = load_samples(data), load_samples(test)
    opened = {path: Plan.load(path) for path in plans}
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(plans) > 1:
        target.mkdir()
    recipe = HealSettings(steps, rate, rank, seed)
    found = [
        heal_model(
            open_model(model, dense=True), plan, learn, held_out, frames, recipe, folders[path],
            progress,
        )
        for path, plan in opened.items()
    ]  # fmt: skip
    report = {"recipe": asdict(recipe), "plans": [asdict(healed) for healed in found]}
    write_atomically(target / "healing.json", json.dumps(report, indent=2) + "\n")
    save_figure(healed_figure(found), target / "healing.png")
    out.print(healed_table(found))
    for folder in folders.values():
        out.print(f"Model   {folder}\nPlan    {folder / RUN_PLAN_FILE}")
    out.print(f"Figure  {target / 'healing.png'}")
