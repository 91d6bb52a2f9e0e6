"""`prune flow`: draw the flow maps of finished traces again, or several in one figure."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import app
from prune.cli.console import out
from prune.errors import BadInputError, UsageError


@app.command()
def flow(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, such as of a model and its fine-tune.")
    ],
    target: Annotated[Path, typer.Option("--out", help="The figure: a .png or .svg file.")],
    metric: Annotated[
        str,
        typer.Option(
            help="change_answer, dlogp_answer, kl, change_true, dlogp_true, accuracy, or "
            "interaction of pairs."
        ),
    ] = "change_answer",
) -> None:
    """Draw traces: any metric of one, or the curves of several over each other."""
    from prune.report.figures.flow import flow_figure
    from prune.report.figures.style import save_figure
    from prune.trace.flow import flow_of
    from prune.trace.trace import Trace

    if target.suffix not in (".png", ".svg"):
        raise UsageError(f"--out {target}: name a .png or .svg file")
    traces = [Trace.load(run) for run in runs]
    names = [trace.model.name for trace in traces]
    if len(set(names)) < len(names):
        names = [f"{trace.model.name} in {trace.run}" for trace in traces]
    drawn = zip(names, traces, strict=True)
    flows = {name: flow_of(trace, metric) for name, trace in drawn}
    first = next(iter(flows.values()))
    if len(flows) > 1 and any(f.form != "layers" or f.step != first.step for f in flows.values()):
        raise BadInputError("only traces of the same --style, over layers, can be drawn together")
    save_figure(flow_figure(flows), target)
    out.print(f"Figure  {target}")
