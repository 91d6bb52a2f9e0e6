"""The workflow of `prune flow`: the flow maps of finished traces in one figure."""

from collections.abc import Sequence
from pathlib import Path

from prune.errors import BadInputError, UsageError
from prune.report.figures.flow import MOST, flow_figure
from prune.report.figures.style import save_figure
from prune.trace.flow import flow_of
from prune.trace.trace import Trace


def draw_flow(runs: Sequence[Path], out: Path, metric: str = "change_answer") -> None:
    """Draw any metric of one trace, or the curves of several over each other.

    Args:
        runs: the run folders.
        out: the figure, a .png or .svg file.
        metric: a name in `prune.trace.metrics.METRICS`, or `interaction` of pairs.

    Raises:
        UsageError: the file is of another kind, there are too many traces, or one has no such
            metric.
        BadInputError: there is no trace, or several that cannot share axes.
    """
    if out.suffix not in (".png", ".svg"):
        raise UsageError(f"--out {out}: name a .png or .svg file")
    if len(runs) > MOST:
        raise UsageError(f"{len(runs)} runs: one figure holds the curves of {MOST}; draw several")
    traces = [Trace.load(run) for run in runs]
    names = [trace.model.name for trace in traces]
    if len(set(names)) < len(names):
        names = [f"{trace.model.name} in {trace.run}" for trace in traces]
    flows = {name: flow_of(trace, metric) for name, trace in zip(names, traces, strict=True)}
    first = next(iter(flows.values()))
    if len(flows) > 1 and any(f.form != "layers" or f.step != first.step for f in flows.values()):
        raise BadInputError("only traces of the same --style, over layers, can be drawn together")
    save_figure(flow_figure(flows), out)
