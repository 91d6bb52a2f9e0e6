"""`prune flow`: the flow maps of finished traces, drawn again or in one figure."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import command
from prune.cli.console import out
from prune.workflows.options import FlowMetric


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
        FlowMetric,
        typer.Option(
            help="What is drawn; free_accuracy is over the whole vocabulary, interaction that of "
            "--pairs, agreement and prefix those of replies."
        ),
    ] = FlowMetric.CHANGE_ANSWER,
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
