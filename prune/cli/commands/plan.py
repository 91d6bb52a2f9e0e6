"""`prune plan`: the cheapest plan within a budget."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import MaxFailed, Run, TracedModel, command
from prune.cli.as_json import AsJson, print_json
from prune.cli.budget import BudgetOptions, Freeze, takes_budget
from prune.cli.console import err, out
from prune.cli.loading import Device, Dtype
from prune.cli.progress import progress
from prune.inputs.max_failed import MAX_FAILED
from prune.workflows.options import Method


@command(
    "prune plan run --max-drop 1 --out plan.json",
    "quick-start.md",
)
@takes_budget
def plan(
    run: Run,
    asked: BudgetOptions,
    target: Annotated[
        Path | None, typer.Option("--out", help="Plan file (default: RUN/plan.json).")
    ] = None,
    model: TracedModel = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Held-out JSONL of a later report (default: some samples are held back)."
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="Candidates are ranked by the trace's knockouts, by learned gates, or by "
            "gradients around the plan so far (default: trace, or screen in a deep model)."
        ),
    ] = None,
    per_head: Annotated[
        bool,
        typer.Option("--per-head", help="Also remove pathways in single KV heads."),
    ] = False,
    freeze: Freeze = False,
    device: Device = None,
    dtype: Dtype = None,
    max_failed: MaxFailed = MAX_FAILED,
    as_json: AsJson = False,
) -> None:
    """Search the cheapest plan within a budget; Ctrl-C ends it with the best plan so far."""
    from prune.cli.tables.plan import found_facts, found_table, liveness_lines, plan_grid
    from prune.workflows.plan import search_plan

    found = search_plan(
        run,
        asked.budget,
        progress,
        out=target,
        model=model,
        test=test,
        objective=asked.objective.value,
        method=method,
        per_head=per_head,
        freeze=freeze,
        max_failed=max_failed,
        device=device,
        dtype=dtype,
    )
    search = found.search
    if as_json:
        print_json("plan", path=found.path, search=found.report, figure=found.figure,
                   **found_facts(search))  # fmt: skip
    else:
        out.print(plan_grid(search.plan.reach))
        out.print("\n".join(liveness_lines(search.plan.reach)))
        out.print(found_table(search))
        out.print(f"Plan    {found.path}\nSearch  {found.report}\nFigure  {found.figure}")
    if search.warning:
        err.print(f"warning: {search.warning}", soft_wrap=True)
    if search.interrupted:
        raise KeyboardInterrupt
