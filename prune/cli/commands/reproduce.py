"""`prune reproduce`: the paper's figures and tables for any model, on one page."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    MODEL_HELP,
    Data,
    DrawSeed,
    Keep,
    Limit,
    MaxFailed,
    OwnCue,
    PerTask,
    Prompt,
    System,
    Tasks,
    Window,
    command,
    command_line,
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
    "prune reproduce tiny --data clips/calibration.jsonl --out paper",
    "reproduce.md",
)
@takes_media
def reproduce(
    data: Data,
    target: Annotated[
        Path, typer.Option("--out", help="Folder of the page; a run that was stopped resumes.")
    ],
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
    base: Annotated[
        str | None, typer.Option(help="The model that it was fine-tuned from, for figure 2.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Model, prompt, frames, tasks and map of a recipe, or of a .yaml."),
    ] = None,
    limit: Limit = None,
    per_task: PerTask = None,
    tasks: Tasks = None,
    seed: DrawSeed = 0,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of every clip (default: the recipe's, or 8).")
    ] = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    samples: Annotated[
        Which | None, typer.Option(help="Which answers are knocked out (default: correct).")
    ] = None,
    window: Window = None,
    keep: Keep = None,
    words: Annotated[
        str | None,
        typer.Option(help="Words to look for on video tokens, as in [bold]prune lens[/bold]."),
    ] = None,
    min_hits: Annotated[
        int, typer.Option(min=1, help="Leave out words said less often on video tokens.")
    ] = 100,
    device: Device = None,
    dtype: Dtype = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Draw the figures and tables of Map the Flow for a model, each with what it differs in."""
    from prune.journal.processes import processes
    from prune.results.reproduction import PAGE
    from prune.workflows.reproduce import reproduce_model

    found = reproduce_model(
        model,
        data,
        target,
        progress,
        lambda line: out.print(f"Cost    {line}") if processes().is_main_process else None,
        base=base,
        recipe=recipe,
        limit=limit,
        per_task=per_task,
        tasks=names(tasks),
        seed=seed,
        num_frames=frames,
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        which=samples,
        window=window,
        keep=keep,
        words=words,
        min_hits=min_hits,
        device=device,
        dtype=dtype or "auto",
        argv=command_line(),
    )
    if not processes().is_main_process:
        return
    for line in found.about:
        out.print(line)
    out.print(f"Page    {target / PAGE}  ({len(found.exhibits)} figures and tables)")
    report_failed(found.failed, found.samples, max_failed)
