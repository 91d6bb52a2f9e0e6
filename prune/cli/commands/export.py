"""`prune export`: the model that runs under a plan, with its report."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    DrawSeed,
    Keep,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
    PerTask,
    Positions,
    Prompt,
    System,
    Tasks,
    command,
    command_line,
    names,
    report_failed,
)
from prune.cli.as_json import AsJson
from prune.cli.budget import BudgetOptions, Freeze, takes_budget
from prune.cli.frames import ReportedFrames, counts_of
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.needless import refuse
from prune.cli.progress import progress
from prune.cli.thresholds import FailOn
from prune.errors import UsageError
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.workflows.options import Preset


@command(
    "prune export tiny --trace run --test clips/test.jsonl --out pruned",
    "quick-start.md",
)
@takes_budget
@takes_media
def export(
    context: typer.Context,
    model: Model,
    target: Annotated[Path, typer.Option("--out", help="The new model folder.")],
    asked: BudgetOptions,
    run: Annotated[Path | None, typer.Option("--trace", help="Run folder of the trace.")] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Held-out JSONL for the report (default: half of what was not traced)."),
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="A plan file instead of a search.")
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="A preset from Map the Flow instead of a search.")
    ] = None,
    keep: Keep = None,
    published: Annotated[
        bool, typer.Option("--published", help="The preset as published, with its leak.")
    ] = False,
    freeze: Freeze = False,
    frames: ReportedFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    limit: Limit = None,
    per_task: PerTask = None,
    tasks: Tasks = None,
    seed: DrawSeed = 0,
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit code 10 if the verdict is No, or with perhaps if it is not Yes."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pick a plan, measure it on held-out questions, and save the model that runs under it."""
    from prune.cli.exported import check_export, show_export
    from prune.plan.plan import Plan
    from prune.workflows.export import export_model

    given = plan_file is not None, preset is not None, keep is not None
    if bool(asked.given) + sum(given) > 1:
        raise UsageError("a budget, --plan, --preset and --keep: give one of them")
    if any(given):
        refuse(context, ("objective", "freeze"), "leave it out where the plan is given")
    if preset is None:
        refuse(context, ("published",), "give --preset as well")
    plan = None
    if plan_file is not None:
        plan = Plan.load(plan_file)
    elif preset is not None:
        plan = Plan.preset(preset, sealed=not published)
    result = export_model(
        model,
        target,
        progress,
        run=run,
        test=test,
        plan=plan,
        keep=keep,
        budget=None if any(given) else asked.budget,
        objective=asked.objective.value,
        freeze=freeze,
        num_frames=counts_of(frames),
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        limit=limit,
        per_task=per_task,
        tasks=names(tasks),
        seed=seed,
        max_failed=max_failed,
        force=force,
        argv=command_line(),
        device=device,
        dtype=dtype,
        positions=positions,
    )
    show_export(result, target, as_json)
    report_failed(result.failed)
    if fail_on is not None:
        check_export(result, fail_on)
