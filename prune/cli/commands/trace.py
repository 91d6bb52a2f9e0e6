"""`prune trace`: the pathways, found by knockouts."""

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
from prune.cli.frames import TracedFrames, counts_of
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.cli.replying import takes_replying
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.workflows.options import Style, Which


@command(
    "prune trace tiny --data clips/calibration.jsonl --limit 60 --out run",
    "reading-a-flow-map.md",
)
@takes_media
@takes_replying
def trace(
    data: Data,
    run: Annotated[
        Path, typer.Option("--out", help="Run folder; a trace that was stopped resumes.")
    ],
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Model, frames, tasks, pathways and window of a recipe, or of a .yaml."),
    ] = None,
    limit: Limit = None,
    per_task: PerTask = None,
    tasks: Tasks = None,
    seed: DrawSeed = 0,
    frames: TracedFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    show_prompt: Annotated[
        bool,
        typer.Option(
            "--show-prompt",
            help="Print the first sample as the model will read it, by role, and stop.",
        ),
    ] = False,
    samples: Annotated[
        Which | None, typer.Option(help="Which answers to trace (default: correct).")
    ] = None,
    named_set: Sets = None,
    pathway: Pathways = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Also every two pathways together, for their interaction."),
    ] = False,
    style: Annotated[Style, typer.Option(help="Layers that a knockout cuts.")] = Style.CENTRE,
    window: Window = None,
    per_head: Annotated[
        bool, typer.Option("--per-head", help="Cut one KV head at a time.")
    ] = False,
    keep: Keep = None,
    replying: Replying = DEFAULT_REPLYING,
    prefix: Annotated[
        str | None, typer.Option(help="Ask without options; the reply begins with this.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="Ask without options; trace what this regular expression matches in the "
            "model's own reply."
        ),
    ] = None,
    verbs: Annotated[
        str | None, typer.Option(help="Like --anchor, with the verbs that a spaCy pipeline finds.")
    ] = None,
    exact_reference: Annotated[
        bool,
        typer.Option("--exact-reference", help="Run each knockout from the start, which is slow."),
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Find the pathways: knock out attention edges and watch the answer's probability."""
    at = counts_of(frames)
    if show_prompt:
        from prune.cli.prompt import show

        show(model, data, recipe, None if at is None else at[0], cue, system, prompt, media)
        return
    from prune.cli.tables.flow import flow_table
    from prune.journal.processes import processes
    from prune.workflows.trace import trace_model

    traced = trace_model(
        model,
        data,
        run,
        progress,
        recipe=recipe,
        limit=limit,
        per_task=per_task,
        tasks=names(tasks),
        seed=seed,
        num_frames=at,
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        which=samples,
        sets=named_set or (),
        pathways=pathway or (),
        pairs=pairs,
        style=style,
        window=window,
        per_head=per_head,
        keep=keep,
        replying=replying,
        prefix=prefix,
        anchor=anchor,
        verbs=verbs,
        exact_reference=exact_reference,
        device=device,
        dtype=dtype or "auto",
        positions=positions,
    )
    if not processes().is_main_process:
        return
    counts = traced.trace.counts()
    own = anchor is not None or verbs is not None
    kind = f"{counts['cases']} anchors" if own else f"{counts['correct']} correct"
    if counts["replies"]:
        kind += f", {counts['replies']} open"
    out.print(f"{counts['traced']} of {counts['samples']} samples traced ({kind})")
    out.print(flow_table(traced.flow))
    ways = traced.open_ways
    if ways and ways[0] != "video → last":
        out.print(f"Leaks   {len(ways)} paths around these pathways, such as {ways[0]}")
    out.print(f"Figure  {run / 'flow.png'}\nTable   {run / 'flow.csv'}")
    report_failed(traced.trace.failed, counts["samples"], max_failed)
