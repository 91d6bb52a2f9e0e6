"""`prune plan`: search a plan within a budget."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import app
from prune.cli.budget import BudgetOptions, takes_budget
from prune.cli.console import err, out, progress


class Method(StrEnum):
    """What ranks the candidates."""

    trace = "trace"
    gates = "gates"


@app.command()
@takes_budget
def plan(
    run: Annotated[Path, typer.Argument(help="Run folder of [bold]prune trace[/bold].")],
    asked: BudgetOptions,
    target: Annotated[
        Path | None, typer.Option("--out", help="Plan file (default: RUN/plan.json).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model (default: the traced one).")] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Held-out JSONL of a later report; without it, samples are held back."),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="What ranks: the trace's knockouts, or gates that are learned.")
    ] = Method.trace,
    per_head: Annotated[
        bool, typer.Option("--per-head", help="Go on with single KV heads.")
    ] = False,
) -> None:
    """Search the cheapest plan within a budget; Ctrl-C ends it with the best plan so far."""
    from prune.checkpoint.load import open_model
    from prune.cli.tables.plan import found_table, liveness_lines, plan_grid
    from prune.plan.plan import RUN_PLAN_FILE
    from prune.report.figures.front import front_figure
    from prune.report.figures.style import save_figure
    from prune.results.export_result import SearchReport
    from prune.trace.trace import Trace
    from prune.workflows.plan import find_plan, split_samples

    budget = asked.budget
    traced = Trace.load(run)
    opened = open_model(model or traced.model.name, dense=True)
    calibration, _ = split_samples(traced, test)
    found = find_plan(opened, traced, calibration, progress, budget, method.value, per_head)
    path = target or run / RUN_PLAN_FILE
    found.plan.save(path)
    out.print(plan_grid(found.plan.reach))
    out.print("\n".join(liveness_lines(found.plan.reach)))
    out.print(found_table(found))
    report = SearchReport.of(found)
    report.save(path.with_suffix(".search.json"))
    save_figure(front_figure(report), path.with_suffix(".front.png"))
    out.print(
        f"Plan    {path}\nSearch  {path.with_suffix('.search.json')}\n"
        f"Figure  {path.with_suffix('.front.png')}"
    )
    if found.warning:
        err.print(f"warning: {found.warning}", soft_wrap=True)
    if found.interrupted:
        raise KeyboardInterrupt
