"""`prune transfer`: does a plan hold where it was not found?"""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import app
from prune.cli.budget import BudgetOptions, takes_budget
from prune.cli.console import out, progress


@app.command()
@takes_budget
def transfer(
    run: Annotated[Path, typer.Argument(help="Run folder of [bold]prune trace[/bold].")],
    asked: BudgetOptions,
    model: Annotated[str | None, typer.Option(help="The model (default: the traced one).")] = None,
    test: Annotated[
        Path | None, typer.Option(help="Held-out JSONL; without it, samples are held back.")
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, help="Another frame count; repeat for more.")
    ] = None,
) -> None:
    """Search a plan on each task, and use each on every task, frame count and a longer text."""
    from prune.checkpoint.load import open_model
    from prune.cli.tables.transfer import transfer_table
    from prune.report.figures.style import save_figure
    from prune.report.figures.transfer import transfer_figure
    from prune.trace.trace import Trace
    from prune.workflows.plan import split_samples
    from prune.workflows.transfer import transfer as run_transfer

    traced = Trace.load(run)
    calibration, held_out = split_samples(traced, test)
    opened = open_model(model or traced.model.name, dense=True)
    found = run_transfer(
        opened, traced, calibration, held_out, asked.budget, progress, frames or ()
    )
    found.save(run / "transfer.json")
    save_figure(transfer_figure(found), run / "transfer.png")
    out.print(transfer_table(found))
    out.print(f"Matrix  {run / 'transfer.json'}\nFigure  {run / 'transfer.png'}")
