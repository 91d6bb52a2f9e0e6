"""`prune screen`: a ranking of pathways, layers and KV heads by gradients."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    Data,
    DrawSeed,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
    OwnFrames,
    Pathways,
    PerTask,
    Positions,
    Prompt,
    Sets,
    System,
    Tasks,
    Window,
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
from prune.workflows.options import Which


@command(
    "prune screen tiny --data clips/calibration.jsonl --limit 24 --out run",
    "reading-a-flow-map.md",
)
@takes_media
def screen(
    model: Model,
    data: Data,
    run: Annotated[
        Path, typer.Option("--out", help="Run folder; a screen that was stopped resumes.")
    ],
    tasks: Tasks = None,
    limit: Limit = None,
    per_task: PerTask = None,
    seed: DrawSeed = 0,
    frames: OwnFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    samples: Annotated[Which, typer.Option(help="Which answers to screen.")] = Which.CORRECT,
    named_set: Sets = None,
    pathway: Pathways = None,
    window: Window = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many of the strongest are knocked out exactly.")
    ] = 20,
    verify_all: Annotated[
        bool, typer.Option("--verify-all", help="Knock out everything, to measure the ranking.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Rank pathways, layers and KV heads by gradients, and knock out the strongest exactly.

    As many others, spread over the rest of the ranking, are knocked out to see what it misses.
    """
    from prune.cli.tables.screen import missed_line, screen_table
    from prune.journal.processes import processes
    from prune.workflows.screen import screen_model

    found = screen_model(
        model,
        data,
        run,
        progress,
        sets=named_set or (),
        pathways=pathway or (),
        tasks=names(tasks),
        limit=limit,
        per_task=per_task,
        seed=seed,
        num_frames=frames,
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        which=samples,
        window=window,
        top=top,
        verify_all=verify_all,
        device=device,
        dtype=dtype,
        positions=positions,
    )
    if not processes().is_main_process:
        return
    counts = found.counts
    out.print(screen_table(found))
    out.print(
        f"{counts['screened']} of {counts['samples']} samples screened; {found.agreement()}\n"
        f"{missed_line(found)}"
    )
    out.print(f"Figure  {run / 'screen.png'}\nTables  {run / 'screen.csv'}, {run / 'heads.csv'}")
    report_failed(found.failed, counts["samples"], max_failed)
