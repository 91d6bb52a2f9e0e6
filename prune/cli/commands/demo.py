"""`prune demo` and `prune clips`: the embedded model and its benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import app, command_line
from prune.cli.console import out, progress


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Working folder.")] = Path("prune-demo"),
    seed: Annotated[int, typer.Option(help="Which clips are drawn.")] = 0,
) -> None:
    """Trace, prune and report on the model that ships with prune, in minutes on a laptop CPU."""
    from prune.cli.exported import show_export
    from prune.workflows.demo import run_demo

    result, exported = run_demo(folder, seed, progress, command_line())
    show_export(result, exported)


@app.command()
def clips(
    folder: Annotated[Path, typer.Option("--out", help="Where the clips and JSONL files go.")],
    per_task: Annotated[int, typer.Option(min=1, help="Clips of each of the six tasks.")] = 20,
    seed: Annotated[int, typer.Option(help="Which clips are drawn.")] = 0,
) -> None:
    """Write the benchmark of [bold]tiny[/bold]: MP4 clips with questions (calibration and test)."""
    from prune.tiny.benchmark import write_benchmark

    for split in ("calibration", "test"):
        out.print(write_benchmark(folder, split, per_task, seed))
