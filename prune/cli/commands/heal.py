"""`prune heal`: a short fine-tuning under the plan."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    Data,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
    OwnFrames,
    PerTask,
    Prompt,
    System,
    Tasks,
    command,
    names,
    report_failed,
)
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media


@command(
    "prune heal tiny --plan plan.json --data calibration.jsonl --test test.jsonl --out healed",
    "faq.md",
)
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
        typer.Option(
            "--out",
            help="The new model folder; with several plans, a folder of them. Models that the same "
            "command finished are kept.",
        ),
    ],
    tasks: Tasks = None,
    limit: Limit = None,
    per_task: PerTask = None,
    frames: OwnFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 300,
    rate: Annotated[float, typer.Option(min=0, help="Peak learning rate.")] = 1e-3,
    rank: Annotated[
        int, typer.Option(min=0, help="Rank of LoRA; 0 trains every weight of the decoder.")
    ] = 16,
    seed: Annotated[
        int, typer.Option(help="Seed of the batch order, and of what --limit draws.")
    ] = 0,
    device: Device = None,
    dtype: Dtype = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Fine-tune a model under its plan towards its own dense answers, for a few hundred steps."""
    from prune.cli.tables.healed import healed_table
    from prune.plan.plan import RUN_PLAN_FILE
    from prune.workflows.heal_front import heal_front

    found = heal_front(
        model, plans, data, test, target, progress,
        num_frames=frames, cue=cue, system=system, prompt=prompt, media=media,
        tasks=names(tasks), limit=limit, per_task=per_task, steps=steps, rate=rate, rank=rank,
        seed=seed, device=device, dtype=dtype, max_failed=max_failed,
    )  # fmt: skip
    out.print(healed_table(found.results))
    for folder in found.folders:
        out.print(f"Model   {folder}\nPlan    {folder / RUN_PLAN_FILE}")
    out.print(f"Figure  {found.figure}")
    report_failed({name: why for result in found.results for name, why in result.failed.items()})
