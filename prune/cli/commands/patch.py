"""`prune patch`: activation patching between a clip and a corrupted one."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    Cue,
    Data,
    DrawSeed,
    Frames,
    Limit,
    MaxFailed,
    Model,
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
from prune.inputs.prompts import ANSWER_CUE
from prune.workflows.options import Corruption, Site, Which


@command(
    "prune patch tiny --data clips/calibration.jsonl --limit 12 --out run",
    "patching.md",
)
@takes_media
def patch(
    model: Model,
    data: Data,
    run: Annotated[
        Path, typer.Option("--out", help="Run folder; patches that were stopped resume.")
    ],
    source: Annotated[
        Corruption, typer.Option("--from", help="The clip whose activations are taken.")
    ] = Corruption.REVERSED,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore", help="Patch the other clip's run with activations of the sample's own."
        ),
    ] = False,
    site: Annotated[
        list[Site] | None,
        typer.Option(
            help="Activations that are replaced; repeat for more (default: all but heads)."
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Tokens patched together, such as 'video', 'frame:1' or 'question,options'; "
            "repeat for more."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Layers patched together (default: 1; 9 of 32 without states)."),
    ] = None,
    limit: Limit = None,
    per_task: PerTask = None,
    tasks: Tasks = None,
    seed: DrawSeed = 0,
    frames: Frames = 8,
    cue: Cue = ANSWER_CUE,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    samples: Annotated[Which, typer.Option(help="Which answers to patch.")] = Which.CORRECT,
    device: Device = None,
    dtype: Dtype = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Find what activations carry: replace them by those of another clip's run."""
    from prune.cli.tables.flow import flow_table
    from prune.journal.processes import processes
    from prune.workflows.patch import patch_model

    done = patch_model(
        model,
        data,
        run,
        progress,
        corruption=source,
        restore=restore,
        sites=site,
        roles=role,
        window=window,
        limit=limit,
        per_task=per_task,
        tasks=names(tasks),
        seed=seed,
        num_frames=frames,
        cue=cue,
        system=system or "",
        prompt=prompt or "",
        media=media,
        which=samples,
        device=device,
        dtype=dtype or "auto",
    )
    if not processes().is_main_process:
        return
    counts = done.run.counts()
    out.print(
        f"{counts['traced']} of {counts['samples']} samples patched ({counts['correct']} correct)"
    )
    for name, flow in done.flows.items():
        out.print(flow_table(flow))
        out.print(f"Figure  {run / name}.png")
    out.print(f"Tables  {run / 'patch.csv'}, {run / 'patch.json'}")
    report_failed(done.run.failed, counts["samples"], max_failed)
