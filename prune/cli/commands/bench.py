"""`prune bench`: time, throughput and memory on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, OwnCue, Prompt, System, command
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import out
from prune.cli.loading import Device, Dtype, Precision
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.errors import UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media


@command(
    "prune bench pruned --data clips/test.jsonl --frames 8,64",
    "when-it-pays.md",
)
@takes_media
def bench(
    model: Annotated[str, typer.Argument(help="An exported folder.")],
    data: Data,
    against: Annotated[
        str | None, typer.Option(help="Dense model to compare with (default: without its plan).")
    ] = None,
    frames: Annotated[str, typer.Option(help="Numbers of frames, such as 8,64.")] = "8",
    batches: Annotated[
        str, typer.Option(help="Numbers of requests per batch, such as 1,4.")
    ] = "1,4",
    runs: Annotated[int, typer.Option(min=2, help="Timed runs of one request.")] = 20,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    device: Device = None,
    dtype: Dtype = Precision.auto,
    target: Annotated[
        Path | None, typer.Option("--out", help="CSV with every measurement.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Put the measurements into the model's report.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Time an exported model against dense SDPA on this machine, on the data's first request."""
    from prune.cli.tables.bench import bench_tables
    from prune.workflows.bench import bench_export

    found = bench_export(
        model,
        data,
        progress,
        frames=_numbers("--frames", frames),
        batches=_numbers("--batches", batches),
        runs=runs,
        cue=cue,
        system=system,
        prompt=prompt,
        device=device,
        dtype=dtype.value,
        media=media,
        against=against,
        table=target,
        report=report,
    )
    if as_json:
        print_json("bench", rows=found.rows, conditions=found.conditions, table=target,
                   report=found.page)  # fmt: skip
        return
    for table in bench_tables(found.rows):
        out.print(table)
    out.print(", ".join(f"{name} {value}" for name, value in found.conditions.items()))
    if target is not None:
        out.print(f"Table   {target}")
    if found.page is not None:
        out.print(f"Report  {found.page}")


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UsageError(f"{option} {text!r}: expected numbers such as 8,64")
    return [int(part) for part in parts]
