"""`prune flow`: the flow maps of finished traces, drawn again or in one figure."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out


@command(
    "prune flow run --metric kl --out kl.png",
    "reading-a-flow-map.md",
)
def flow(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, such as of a model and its fine-tune.")
    ],
    target: Annotated[Path, typer.Option("--out", help="The figure: a .png, .svg or .pdf file.")],
    metric: Annotated[
        str,
        typer.Option(
            help="change_answer, dlogp_answer, kl, change_true, dlogp_true, accuracy, "
            "free_accuracy (over the whole vocabulary), or interaction of pairs."
        ),
    ] = "change_answer",
    pathway: Annotated[
        list[str] | None,
        typer.Option(help="Only this pathway of the traced ones, such as 'video->last'; repeat."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task, in a panel of its own; repeat.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="In place of what was measured on which samples.")
    ] = None,
) -> None:
    """Draw traces: any metric of one, or the curves of several over each other."""
    from prune.workflows.flow import draw_flow

    draw_flow(runs, target, metric, pathway or (), task or (), title)
    out.print(f"Figure  {target}")
