"""The flow map figure: effect of knocking out each pathway on the answer, by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prune.report.figures.heads import heads_figure
from prune.report.figures.once import once_figure
from prune.report.figures.panels import panel_grid
from prune.report.figures.style import INK, MUTED, by_pathway, save_both, style_axes
from prune.results.flow_map import OWN_REPLIES, Curve, Flow, Panel
from prune.results.interval import FEWEST

_LINES: tuple[Any, ...] = (
    "-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 4)), (0, (4, 1, 1, 4)),
)  # fmt: skip
"""Of the first, second, ... model."""

MOST = len(_LINES)
"""Traces that one figure can hold."""


def flow_figure(flows: Mapping[str, Flow], title: str | None = None) -> Figure:
    """Flow maps of one model, or of several of the same quantity over each other.

    Args:
        flows: by name of the model, at most `MOST`; several must be curves over layers.
        title: in place of what was measured on which samples.
    """
    assert len(flows) <= MOST
    first = next(iter(flows.values()))
    if first.form == "heads":
        figure = heads_figure(first)
    elif first.form == "once":
        figure = once_figure(first)
    else:
        figure = _curves_figure(flows)
    lines = [title] if title else [_caption(name, flow) for name, flow in flows.items()]
    figure.suptitle(
        "\n".join(fill(line, int(15 * figure.get_figwidth())) for line in lines),
        fontsize=8.5,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    return figure


def write_flow(folder: Path, flows: Mapping[str, Flow], name: str = "flow") -> None:
    """Draw `flow_figure` into a folder, as PNG and as SVG."""
    save_both(flow_figure(flows), folder / name)


def _caption(model: str, flow: Flow) -> str:
    """The measurement and its samples, in words."""
    counts = flow.counts
    # More than one of a sample: places in a reply, or its answers at several numbers of frames.
    several = "anchors in" if flow.which == OWN_REPLIES else "answers to"
    cases = f"{counts['cases']} {several} " if counts["cases"] > counts["traced"] else ""
    right = f"{counts['correct']} answered correctly, " if flow.which != OWN_REPLIES else ""
    same = "; panels are over the same replies" if flow.which == OWN_REPLIES else ""
    return (
        f"{model}: {flow.method}, {flow.sweep}; traced: {cases}{counts['traced']} of "
        f"{counts['samples']} samples ({flow.which}; {right}{counts['failed']} failed); "
        f"bands: 95% bootstrap by video, from {FEWEST} videos on{same}"
    )


def _curves_figure(flows: Mapping[str, Flow]) -> Figure:
    first = next(iter(flows.values()))
    panels: dict[str, list[tuple[Panel, Any]]] = {}
    for flow, line in zip(flows.values(), _LINES, strict=False):
        for panel in flow.panels:
            panels.setdefault(panel.title, []).append((panel, line))
    # Anchors of replies, and tasks, differ in size by orders of magnitude.
    shared = first.which != OWN_REPLIES and len(panels) < 3
    figure, grid = panel_grid(len(panels), 5.25, 4.6, sharey=shared)
    sets = [_labels(drawn) for drawn in panels.values()]
    # Panels of the same curves need their colours explained once.
    common = sets[0] if len(sets) > 1 and all(labels == sets[0] for labels in sets) else []
    for axes, (title, drawn) in zip(grid, panels.items(), strict=True):
        style_axes(axes, title)
        curves = [curve for panel, _ in drawn for curve in panel.curves]
        colors = by_pathway(_labels(drawn))
        for panel, line in drawn:
            _draw(axes, panel.curves, colors, line)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel(first.step, fontsize=9, color=INK)
        place = axes.get_subplotspec()
        if place and (place.is_first_col() or not shared):
            axes.set_ylabel(first.quantity, fontsize=9, color=INK)
        layers = np.arange(1, max(len(curve.mean) for curve in curves) + 1)
        axes.set_xticks(layers[:: max(1, len(layers) // 12)])
        if not common:
            axes.legend(handles=_key(colors), fontsize=8, frameon=False, loc="upper center",
                        ncols=max(1, 75 // max(map(len, colors), default=1) - 1),
                        bbox_to_anchor=(0.5, -0.16))  # fmt: skip
    handles = _key(by_pathway(common)) if common else []
    if len(flows) > 1:
        handles += [
            Line2D([], [], color=INK, linestyle=line, label=name)
            for name, line in zip(flows, _LINES, strict=False)
        ]
    if handles:
        figure.legend(handles=handles, fontsize=9, frameon=False, loc="outside lower center",
                      ncols=min(6, len(handles)))  # fmt: skip
    return figure


def _labels(drawn: Sequence[tuple[Panel, Any]]) -> list[str]:
    return list(dict.fromkeys(curve.label for panel, _ in drawn for curve in panel.curves))


def _key(colors: Mapping[str, str]) -> list[Line2D]:
    return [Line2D([], [], color=color, label=label) for label, color in colors.items()]


def _draw(axes: Axes, curves: Sequence[Curve], colors: dict[str, str], line: Any) -> None:
    for curve in curves:
        layers, color = np.arange(1, len(curve.mean) + 1), colors[curve.label]
        axes.plot(layers, curve.mean, color=color, linewidth=1.8, linestyle=line)
        if curve.low:
            axes.fill_between(layers, curve.low, curve.high, color=color, alpha=0.12, linewidth=0)
