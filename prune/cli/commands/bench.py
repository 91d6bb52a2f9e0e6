"""`prune bench`: time, throughput and memory on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, app
from prune.cli.console import out, progress
from prune.errors import UsageError


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="An exported folder.")],
    data: Data,
    against: Annotated[
        str | None, typer.Option(help="Dense model to compare with (default: without its plan).")
    ] = None,
    frames: Annotated[str, typer.Option(help="Numbers of frames, such as 8,64.")] = "8",
    batches: Annotated[str, typer.Option(help="Requests that run together.")] = "1,4",
    runs: Annotated[int, typer.Option(min=2, help="Timed runs of a single request.")] = 20,
    target: Annotated[
        Path | None, typer.Option("--out", help="CSV with every measurement.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Put the measurements into the model's report.")
    ] = False,
) -> None:
    """Time an exported model against dense SDPA on this machine, on the data's first request."""
    from prune.cli.tables.bench import bench_tables
    from prune.workflows.amend import amend, is_export
    from prune.workflows.bench import bench_export, write_csv

    if report and not is_export(Path(model)):
        raise UsageError(f"--report: {model} holds no report of prune export")
    counts = _numbers("--frames", frames), _numbers("--batches", batches)
    found, where = bench_export(model, data, *counts, runs, progress, against)
    for table in bench_tables(found):
        out.print(table)
    out.print(", ".join(f"{name} {value}" for name, value in where.items()))
    if target is not None:
        write_csv(target, found, where)
        out.print(f"Table   {target}")
    if report:
        page = amend(Path(model), lambda r: replace(r, benched=tuple(found), benched_on=where))
        out.print(f"Report  {page}")


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UsageError(f"{option} {text!r}: expected numbers such as 8,64")
    return [int(part) for part in parts]
