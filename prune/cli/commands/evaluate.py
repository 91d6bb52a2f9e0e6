"""`prune eval`: accuracy on a data set, or on tasks of lm-eval."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prune.cli.app import (
    DrawSeed,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
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
from prune.cli.frames import AnsweredFrames, counts_of
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.needless import given, refuse
from prune.cli.progress import progress
from prune.cli.replying import takes_replying
from prune.cli.thresholds import check_drop
from prune.errors import UsageError
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE
from prune.inputs.replying import DEFAULT_REPLYING, Replying

OF_DATA = (
    "against", "prompt", "as_json", "max_drop", "per_task", "reply", "reply_tokens", "max_failed",
)  # fmt: skip
"""Options that lm-eval has nothing like."""


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
    frames: AnsweredFrames = None,
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
    counts = counts_of(frames)
    if data is None:
        if counts is not None and len(counts) > 1:
            raise UsageError("--frames: give --data FILE as well, or one number")
        refuse(context, ("system",), "without --data give lm-eval's --system_instruction")
        refuse(context, ("dtype",), "give --data FILE as well, or lm-eval's --model_args dtype=")
        refuse(context, OF_DATA, "give --data FILE as well")
        if tasks is None:
            raise UsageError("give --data FILE, or --tasks of lm-eval such as tiny or tvbench")
        from prune.workflows.harness import run_harness

        args = list(context.args)
        # lm-eval has options of these names.
        for name, value in (("device", device), ("seed", seed)):
            if given(context, name):
                args += [f"--{name}", str(value)]
        said = ANSWER_CUE if cue is None else cue
        count = None if counts is None else counts[0]
        run_harness(model, tasks, count, limit, said, media, args, positions)
        return
    if context.args:
        raise UsageError(f"no such option with --data: {context.args[0]}")
    if max_drop is not None and against is None:
        raise UsageError("--max-drop: give --against MODEL as well")
    from prune.workflows.evaluate import evaluate_model

    found = evaluate_model(
        model,
        data,
        progress,
        against=against,
        tasks=names(tasks),
        num_frames=counts,
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
    every = [found, *found.more]
    if as_json:
        told = _facts(found)
        if found.more:
            told = {"frame_counts": [{"frames": e.num_frames, **_facts(e)} for e in every]}
        print_json("eval", model=model, against=against, **told)
    else:
        for one in every:
            if found.more:
                out.print(f"{one.num_frames} frame{'s' if one.num_frames > 1 else ''}")
            _show(one)
    failed = {name: why for one in every for name, why in one.failed.items()}
    report_failed(failed, found.total, max_failed)
    if max_drop is not None:
        changes = [one.comparison.overall.difference for one in every if one.comparison]
        if not changes:
            raise UsageError("--max-drop: no sample of the data has options")
        check_drop(min(changes, key=lambda change: change.value), max_drop)


def _facts(found: Any) -> dict[str, Any]:
    """An `Evaluation` as plain values for `--json`."""
    from prune.cli.tables.accuracy import accuracy_facts

    facts = accuracy_facts(found.answers, found.comparison)
    return {**facts, "replies": found.replies, "failed": found.failed}


def _show(found: Any) -> None:
    """Print the tables of an `Evaluation`."""
    from prune.cli.tables.accuracy import accuracy_table, comparison_table
    from prune.cli.tables.replies import replies_tables

    if found.comparison is not None:
        out.print(comparison_table(found.comparison))
    elif found.answers:
        out.print(accuracy_table(found.answers))
    if found.replies is not None:
        for table in replies_tables(found.replies):
            out.print(table)
