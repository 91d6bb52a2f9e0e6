"""`prune transfer`: plans used where they were not found."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Run, TracedModel, command
from prune.cli.budget import BudgetOptions, takes_budget
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.progress import progress


@command(
    "prune transfer run --frames 4 --frames 12",
    "faq.md",
)
@takes_budget
def transfer(
    run: Run,
    asked: BudgetOptions,
    model: TracedModel = None,
    test: Annotated[
        Path | None, typer.Option(help="Held-out JSONL (default: some samples are held back).")
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, help="Another frame count; repeat for more.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Search a plan on each task, and use each on every task, frame count and a longer text."""
    from prune.cli.tables.transfer import transfer_table
    from prune.plan.budget import Budget
    from prune.workflows.transfer import transfer_plans

    budget = asked.budget or Budget.default(options=1, open=0)
    found = transfer_plans(
        run,
        replace(budget, objective=asked.objective.value),
        progress,
        model=model,
        test=test,
        other_frames=frames or (),
        device=device,
        dtype=dtype,
    )
    out.print(transfer_table(found.transfer))
    out.print(f"Matrix  {found.matrix}\nFigure  {found.figure}")
