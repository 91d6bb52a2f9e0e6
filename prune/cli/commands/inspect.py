"""`prune inspect`: a plan as a grid, with its leaks and savings."""

from typing import Annotated

import typer

from prune.cli.app import app
from prune.cli.console import out


@app.command()
def inspect(
    what: Annotated[
        str,
        typer.Argument(help="A plan file, a preset's name, an exported folder or a run folder."),
    ],
) -> None:
    """Draw a plan as a grid, with its dead states, leaks, and savings on long prompts."""
    from prune.cli.tables.plan import leak_lines, liveness_lines, outlook_table, plan_grid
    from prune.workflows.named_plan import named_plan

    shown = named_plan(what)
    out.print(f"[bold]{shown.name}[/bold]  for {shown.model.name}, {shown.num_layers} layers")
    out.print(plan_grid(shown.reach))
    out.print("\n".join([*liveness_lines(shown.reach), *leak_lines(shown.reach)]))
    out.print(outlook_table(shown.reach))
    out.print(f"sha256 {shown.sha256}")
