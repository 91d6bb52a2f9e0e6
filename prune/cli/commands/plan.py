"""`prune plan`: search a plan within a budget."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import app, budget
from prune.console import liveness_lines, out, plan_grid, progress


@app.command()
def plan(
    run: Annotated[Path, typer.Argument(help="Run folder of [bold]prune trace[/bold].")],
    target: Annotated[
        Path | None, typer.Option("--out", help="Plan file [default: RUN/plan.json].")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model [default: the traced one].")] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Held-out JSONL of a later report; without it, samples are held back."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0, help="Points of accuracy that may be lost.")
    ] = None,
    density: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of edges to keep.")
    ] = None,
) -> None:
    """Search the plan that removes the most edges within a budget."""
    from prune.measure import find_plan, split_samples
    from prune.models import open_model
    from prune.trace.trace import Trace

    traced = Trace.load(run)
    opened = open_model(model or traced.model.name, dense=True)
    calibration, _ = split_samples(traced, test)
    found = find_plan(opened, traced, calibration, progress, **budget(max_drop, density))
    path = target or run / "plan.json"
    found.plan.save(path)
    out.print(plan_grid(found.plan.reach))
    out.print("\n".join(liveness_lines(found.plan.reach)))
    best = [s for s in found.steps if s.accepted]
    if best:
        now, before = best[-1].score.accuracy, found.dense.accuracy
        out.print(
            f"{100 * best[-1].density:.1f}% of edges kept; accuracy on {len(calibration)} "
            f"calibration samples {now:.1f}% (dense {before:.1f}%)"
        )
    out.print(f"Plan  {path}")
