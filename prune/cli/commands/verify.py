"""`prune verify`: the files of an export against its manifest."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.as_json import AsJson, print_json
from prune.cli.console import out


@command(
    "prune verify pruned",
    "quick-start.md",
)
def verify(
    folder: Annotated[Path, typer.Argument(help="An exported folder.")], as_json: AsJson = False
) -> None:
    """Check every file of an export against its manifest."""
    from prune.workflows.verify import verify_export

    files = verify_export(folder)
    if as_json:
        print_json("verify", folder=folder, files=files)
        return
    out.print(f"{files} files are as they were exported")
