"""The workflow of `prune flow`: the flow maps of finished traces in one figure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prune.errors import BadInputError, UsageError
from prune.layout.freezing import find_traced
from prune.report.figures.flow import MOST, flow_figure
from prune.report.figures.style import save_figure
from prune.results.flow_map import Flow
from prune.trace.flow import flow_of, task_flow
from prune.trace.trace import Trace


def draw_flow(
    runs: Sequence[Path],
    out: Path,
    metric: str = "change_answer",
    pathways: Sequence[str] = (),
    tasks: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Draw any metric of one trace, or the curves of several over each other.

    Args:
        runs: the run folders.
        out: the figure, a .png, .svg or .pdf file.
        metric: a name in `prune.trace.metrics.METRICS`, or `interaction` of pairs.
        pathways: only these of the traced ones, a panel per task (`prune.layout.pathways`).
        tasks: only these tasks, a panel each.
        title: in place of what was measured on which samples.

    Raises:
        UsageError: the file is of another kind, there are too many traces, or one has no such
            metric, pathway or task.
        BadInputError: there is no trace, or several that cannot share axes.
    """
    if out.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--out {out}: name a .png, .svg or .pdf file")
    if len(runs) > MOST:
        raise UsageError(f"{len(runs)} runs: one figure holds the curves of {MOST}; draw several")
    traces = [Trace.load(run) for run in runs]
    names = [trace.model.name for trace in traces]
    if len(set(names)) < len(names):
        names = [f"{trace.model.name} in {trace.run}" for trace in traces]
    flows = {
        name: _flow(trace, metric, pathways, tasks)
        for name, trace in zip(names, traces, strict=True)
    }
    first = next(iter(flows.values()))
    if len(flows) > 1 and any(f.form != "layers" or f.step != first.step for f in flows.values()):
        raise BadInputError("only traces of the same --style, over layers, can be drawn together")
    save_figure(flow_figure(flows, title), out)


def _flow(trace: Trace, metric: str, pathways: Sequence[str], tasks: Sequence[str]) -> Flow:
    """The curves of a trace, or of some pathways and tasks of it."""
    if not pathways and not tasks:
        return flow_of(trace, metric)
    traced = {pathway.title: pathway for pathway in trace.pathways()}
    wanted = [find_traced(name).title for name in pathways]
    if missing := [title for title in wanted if title not in traced]:
        raise UsageError(f"--pathway: {trace.run} did not cut {missing[0]}: {', '.join(traced)}")
    flow = task_flow(trace, {t: p for t, p in traced.items() if not wanted or t in wanted}, metric)
    if flow.form != "layers":
        raise UsageError("--pathway and --task: the trace is no sweep over layers")
    names = [task.replace("_", " ") for task in tasks]
    panels = {panel.title.rpartition(" (n=")[0]: panel for panel in flow.panels}
    if lost := [name for name in names if name not in panels]:
        raise UsageError(f"--task {lost[0]}: {trace.run} has {', '.join(panels)}")
    return replace(flow, panels=tuple(p for t, p in panels.items() if not names or t in names))
