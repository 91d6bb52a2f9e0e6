"""`prune eval`: accuracy, by our own questions or by lm-eval's tasks."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Frames, Model, app, report_failed
from prune.cli.console import out, progress
from prune.errors import UsageError, install_extra


@app.command("eval", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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
    frames: Frames = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="With --data: another model, compared sample by sample."),
    ] = None,
) -> None:
    """Answer questions; an exported folder answers under its plan.

    Without --data every flag of lm-eval is understood and passed on, for example
    prune eval DIR --tasks tvbench --metadata '{"data": "/data/TVBench"}' --output_path results.
    """
    if data is None:
        if against is not None:
            raise UsageError("--against: give --data FILE as well")
        _harness(model, tasks, frames, limit, context.args)
        return
    if context.args:
        raise UsageError(f"no such option with --data: {context.args[0]}")
    from prune.cli.tables.accuracy import accuracy_table, comparison_table
    from prune.cli.tasks import of_tasks
    from prune.evaluate.paired import paired_report
    from prune.inputs.samples import load_samples
    from prune.workflows.evaluate import evaluate_model

    samples = of_tasks(load_samples(data), tasks, data)
    answers, failed = evaluate_model(model, samples[:limit], frames, progress)
    if against is None:
        out.print(accuracy_table(answers))
    else:
        others, theirs = evaluate_model(against, samples[:limit], frames, progress)
        failed |= theirs
        out.print(comparison_table(paired_report(others, answers)))
    report_failed(failed)


def _harness(
    model: str, tasks: str | None, frames: int, limit: int | None, flags: list[str]
) -> None:
    """Run lm-eval's own command line with our model and tasks."""
    if tasks is None:
        raise UsageError("give --data FILE, or --tasks of lm-eval such as tiny or tvbench")
    try:
        from lm_eval.__main__ import cli_evaluate
    except ImportError:
        raise UsageError(f"--tasks without --data needs lm-eval: {install_extra('eval')}") from None
    import sys

    from prune.harness import TASKS

    sys.argv = ["lm-eval", "run", "--model", "prune", "--tasks", tasks]
    sys.argv += ["--include_path", str(TASKS), "--device", "auto"]
    sys.argv += ["--model_args", f"pretrained={model}", f"num_frames={frames}"]
    sys.argv += [] if limit is None else ["--limit", str(limit)]
    sys.argv += flags
    cli_evaluate()
