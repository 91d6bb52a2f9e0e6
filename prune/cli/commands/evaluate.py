"""`prune eval` and `prune bench`: accuracy and latency."""

from typing import Annotated

import typer

from prune.cli.app import Data, Frames, Model, app, report_failed
from prune.console import accuracy_table, latency_table, out, progress
from prune.errors import UsageError


@app.command("eval")
def evaluate(
    model: Model,
    data: Data,
    tasks: Annotated[
        str | None, typer.Option(help="Only these tasks of the data, separated by commas.")
    ] = None,
    frames: Frames = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
) -> None:
    """Answer a data set's questions; an exported folder answers under its plan."""
    from prune.samples import load_samples
    from prune.stages import evaluate_model

    samples = load_samples(data)
    if tasks is not None:
        wanted = set(tasks.split(","))
        unknown = wanted - {s.task for s in samples}
        if unknown:
            raise UsageError(f"--tasks: {data} has no task {', '.join(sorted(unknown))}")
        samples = [s for s in samples if s.task in wanted]
    answers, failed = evaluate_model(model, samples[:limit], frames, progress)
    out.print(accuracy_table(answers))
    report_failed(failed)


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="An exported folder.")],
    data: Data,
    frames: Frames = 8,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each.")] = 20,
) -> None:
    """Time an exported model against dense SDPA on this machine, on the data's first prompt."""
    from prune.stages import bench_model

    out.print(latency_table(bench_model(model, data, frames, runs, progress)))
