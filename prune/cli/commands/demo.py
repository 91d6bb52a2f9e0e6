"""`prune demo`: the whole way on the embedded model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from prune.cli.app import command, command_line
from prune.cli.console import out
from prune.cli.progress import progress


@command(
    "prune demo --out runs/demo",
    "quick-start.md",
)
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Working folder.")] = Path("prune-demo"),
    model: Annotated[
        Literal["tiny", "tiny-deep"],
        typer.Option(help="Six tasks in minutes, or twelve, of which most need several frames."),
    ] = "tiny",
    seed: Annotated[int, typer.Option(help="Seed of the clips.")] = 0,
) -> None:
    """Trace, prune and report on a model that ships with prune, in minutes on a laptop CPU."""
    from prune.cli.exported import show_export
    from prune.cli.tables.bench import bench_tables
    from prune.workflows.demo import run_demo

    result, exported, benched = run_demo(model, folder, seed, progress, command_line())
    for table in bench_tables(benched.rows):
        out.print(table)
    show_export(result, exported)
