"""`prune data`: a public benchmark as a data set that every command reads."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from prune.cli.app import app, report_failed
from prune.cli.console import out


@app.command()
def data(
    name: Annotated[
        str,
        typer.Argument(help="tvbench, tomato, mvbench, videomme, longvideobench or pope."),
    ],
    folder: Annotated[Path, typer.Argument(help="Your copy, unpacked, in its published layout.")],
    target: Annotated[
        Path | None,
        typer.Option("--out", help="JSONL in or above FOLDER (default: FOLDER/NAME.jsonl)."),
    ] = None,
) -> None:
    """Read a public benchmark into the JSONL that [bold]--data[/bold] takes."""
    from collections import Counter

    from prune.datasets import read_dataset
    from prune.inputs.samples import save_samples

    samples = read_dataset(name, folder)
    missing = {s.id: f"{s.video}: no such video file" for s in samples if not s.video.is_file()}
    there = [sample for sample in samples if sample.id not in missing]
    path = target or folder / f"{name}.jsonl"
    save_samples(path, there)
    table = Table("task", "questions", box=None, padding=(0, 2, 0, 0))
    for task, count in sorted(Counter(sample.task for sample in there).items()):
        table.add_row(task, str(count))
    out.print(table)
    out.print(f"{len(there)} questions  {path}")
    report_failed(missing)
