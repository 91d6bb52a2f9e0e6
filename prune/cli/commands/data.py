"""`prune data`: a public benchmark as a data set that every command reads."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from prune.cli.app import command, report_failed
from prune.cli.console import out


@command(
    "prune data tvbench /data/TVBench --out tvbench.jsonl",
    "data-sets.md",
)
def data(
    name: Annotated[
        str,
        typer.Argument(
            help="tvbench, tomato, mvbench, videomme, longvideobench, pope; with open questions: "
            "coco_captions, activitynet_qa, vcgbench."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Your copy, unpacked, in its published layout.")],
    target: Annotated[
        Path | None,
        typer.Option("--out", help="JSONL in or above FOLDER (default: FOLDER/NAME.jsonl)."),
    ] = None,
) -> None:
    """Read a public benchmark into the JSONL that [bold]--data[/bold] takes."""
    from prune.workflows.data import convert_dataset

    found = convert_dataset(name, folder, target)
    table = Table("task", "questions", box=None, padding=(0, 2, 0, 0))
    for task, count in sorted(Counter(sample.task for sample in found.samples).items()):
        table.add_row(task, str(count))
    out.print(table)
    out.print(f"{len(found.samples)} questions  {found.path}")
    report_failed(found.missing)
