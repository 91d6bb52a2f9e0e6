"""`prune verify`: the files of an export against its manifest."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune verify pruned",
    "quick-start.md",
)
def verify(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Check every file of an export against its manifest."""
    from prune.workflows.verify import verify_export

    out.print(f"{verify_export(folder)} files are as they were exported")
