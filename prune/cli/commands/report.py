"""`prune report`: the report of an export, drawn again."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune report pruned",
    "reading-a-report.md",
)
def report(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Draw report.html again from an export's prune_report.json and plan."""
    from prune.workflows.report import redraw

    out.print(redraw(folder))
