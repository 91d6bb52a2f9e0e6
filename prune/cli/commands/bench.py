"""`prune bench`: time, throughput and memory on this machine, of a model or of servers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prune.cli.app import Data, OwnCue, Prompt, System, command
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import err, out
from prune.cli.load import takes_load
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.needless import refuse
from prune.cli.progress import progress
from prune.errors import UsageError
from prune.inputs.load import Load
from prune.inputs.media import DEFAULT_MEDIA, Media

RUNS = 20
"""Timed runs of one request."""

UNSERVED = ("batches", "cue", "device", "dtype")
"""Options that say nothing of a server."""


@command(
    "prune bench pruned --data clips/test.jsonl --frames 8,64",
    "when-it-pays.md",
)
@takes_media
@takes_load
def bench(
    context: typer.Context,
    data: Data,
    model: Annotated[str | None, typer.Argument(help="An exported folder.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Dense model to compare with (default: without its plan).")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(help="Numbers of frames, such as 8,64 (default: as exported, or 8)."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="Numbers of requests per batch, such as 1,4.")
    ] = "1,4",
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Timed runs of one request, or of a load (default: 20, or 1)."),
    ] = None,
    load: Load | None = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    device: Device = None,
    dtype: Dtype = None,
    target: Annotated[
        Path | None, typer.Option("--out", help="CSV with every measurement.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Put the measurements into the model's report.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Time an exported model against dense SDPA on this machine, on the data's first request.

    With --endpoint, a running server is asked about all of the data instead, by vllm bench serve.
    """
    counts = [] if frames is None else _numbers("--frames", frames)
    words = {"system": system, "prompt": prompt, "media": media}
    common: dict[str, Any] = {**words, "against": against, "table": target, "report": report}
    if load is not None:
        refuse(context, UNSERVED, "leave it out with --endpoint: the server decides that")
        if len(counts) > 1:
            raise UsageError("--frames: give one number with --endpoint")
        one = counts[0] if counts else None
        _bench_load(load, data, as_json, folder=model, frames=one, runs=runs or 1, **common)
        return
    if model is None:
        raise UsageError("give an exported folder, or --endpoint URL and --clients 1,2,4")
    if runs == 1:
        raise UsageError("--runs 1: time a request twice at least")
    from prune.cli.tables.bench import bench_tables
    from prune.workflows.bench import bench_export

    found = bench_export(
        model,
        data,
        progress,
        frames=counts,
        batches=_numbers("--batches", batches),
        runs=runs or RUNS,
        cue=cue,
        device=device,
        dtype=dtype,
        **common,
    )
    if as_json:
        print_json("bench", rows=found.rows, conditions=found.conditions, table=target,
                   report=found.page)  # fmt: skip
        return
    for table in bench_tables(found.rows):
        out.print(table)
    _show_end(found.conditions, Table=target, Report=found.page)


def _bench_load(load: Load, data: Path, as_json: bool, **options: Any) -> None:
    from prune.cli.tables.load import load_table
    from prune.workflows.bench_load import bench_load

    found = bench_load(load, data, progress, **options)
    rows, conditions = found.report.rows, found.report.conditions
    if as_json:
        print_json("bench", load=rows, conditions=conditions, table=options["table"],
                   figure=found.figure, left_out=[str(level) for level in found.left_out],
                   report=found.page)  # fmt: skip
    else:
        out.print(load_table(found.report))
        _show_end(conditions, Table=options["table"], Figure=found.figure, Report=found.page)
    if found.left_out:
        left = ", ".join(map(str, found.left_out))
        err.print(f"warning: no time for {left}: give more --minutes", soft_wrap=True)


def _show_end(conditions: dict[str, str], **paths: Path | None) -> None:
    out.print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    for name, path in paths.items():
        if path is not None:
            out.print(f"{name:<6}  {path}")


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UsageError(f"{option} {text!r}: expected numbers such as 8,64")
    return [int(part) for part in parts]
