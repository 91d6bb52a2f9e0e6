"""`prune eval`: accuracy on a data set, or on tasks of lm-eval."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    DrawSeed,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
    OwnFrames,
    PerTask,
    Positions,
    Prompt,
    System,
    command,
    names,
    report_failed,
)
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.cli.replying import takes_replying
from prune.cli.thresholds import check_drop
from prune.errors import UsageError
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE
from prune.inputs.replying import DEFAULT_REPLYING, Replying


@command(
    "prune eval pruned --data clips/test.jsonl --against tiny",
    "data-sets.md",
    name="eval",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
@takes_media
@takes_replying
def evaluate(
    context: typer.Context,
    model: Model,
    data: Annotated[
        Path | None,
        typer.Option(help="JSONL to answer; without it, [bold]--tasks[/bold] are lm-eval's."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Only these tasks of the data; or lm-eval's, such as tiny or tvbench."),
    ] = None,
    frames: OwnFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    limit: Limit = None,
    per_task: PerTask = None,
    seed: DrawSeed = 0,
    against: Annotated[
        str | None,
        typer.Option(help="With --data: another model, compared sample by sample."),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    replying: Replying = DEFAULT_REPLYING,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, help="With --against: points that may be lost; exit code 10 if more are."
        ),
    ] = None,
    max_failed: MaxFailed = MAX_FAILED,
    as_json: AsJson = False,
) -> None:
    """Answer questions; an exported folder answers under its plan.

    Without --data every flag of lm-eval is understood and passed on, for example
    prune eval DIR --tasks tvbench --metadata '{"data": "/data/TVBench"}' --output_path results.
    """
    if data is None:
        if against is not None:
            raise UsageError("--against: give --data FILE as well")
        if as_json or max_drop is not None:
            raise UsageError("--json and --max-drop: give --data FILE as well")
        if tasks is None:
            raise UsageError("give --data FILE, or --tasks of lm-eval such as tiny or tvbench")
        if system is not None:
            raise UsageError("--system without --data: give lm-eval's --system_instruction")
        if prompt is not None:
            raise UsageError("--prompt: give --data FILE as well; lm-eval's tasks have their own")
        if dtype is not None:
            raise UsageError("--dtype: give --data FILE as well, or lm-eval's --model_args dtype=")
        from prune.workflows.harness import run_harness

        # lm-eval has an option of this name.
        args = context.args if device is None else [*context.args, "--device", device]
        said = ANSWER_CUE if cue is None else cue
        run_harness(model, tasks, frames, limit, said, media, args, positions)
        return
    if context.args:
        raise UsageError(f"no such option with --data: {context.args[0]}")
    if max_drop is not None and against is None:
        raise UsageError("--max-drop: give --against MODEL as well")
    from prune.cli.tables.accuracy import accuracy_facts, accuracy_table, comparison_table
    from prune.cli.tables.replies import replies_tables
    from prune.workflows.evaluate import evaluate_model

    found = evaluate_model(
        model,
        data,
        progress,
        against=against,
        tasks=names(tasks),
        num_frames=frames,
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        limit=limit,
        per_task=per_task,
        seed=seed,
        device=device,
        dtype=dtype,
        positions=positions,
        replying=replying,
    )
    if as_json:
        facts = accuracy_facts(found.answers, found.comparison)
        print_json("eval", model=model, against=against, **facts, replies=found.replies,
                   failed=found.failed)  # fmt: skip
    elif found.comparison is not None:
        out.print(comparison_table(found.comparison))
    elif found.answers:
        out.print(accuracy_table(found.answers))
    if found.replies is not None and not as_json:
        for table in replies_tables(found.replies):
            out.print(table)
    report_failed(found.failed, found.total, max_failed)
    if max_drop is not None:
        if found.comparison is None:
            raise UsageError("--max-drop: no sample of the data has options")
        check_drop(found.comparison.overall.difference, max_drop)
