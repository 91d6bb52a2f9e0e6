"""The flow map: what knocking out each pathway does to the answer, layer by layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.result import Curve, Flow


def flow_figure(flow: Flow, model: str) -> Figure:
    """Change of the answer's probability when a pathway is knocked out, layer by layer."""
    panels = [("Cross-frame edges, by task", flow.by_task)] if flow.by_task else []
    panels += [("Pathways, all tasks", flow.pathways)] if flow.pathways else []
    figure = Figure(figsize=(5.25 * len(panels), 4.6), layout="constrained")
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        style_axes(axes, title)
        _curves(axes, curves)
    figure.axes[0].set_ylabel("change of answer probability (%)", fontsize=9, color=INK)
    counts = flow.counts
    figure.suptitle(
        f"{model}: attention knockout, window {flow.window}; {counts['traced']} of "
        f"{counts['samples']} samples traced ({counts['correct']} right, "
        f"{counts['failed']} failed); bands: 95% bootstrap",
        fontsize=8.5,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    return figure


def _curves(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve, color in zip(curves, COLORS * 3, strict=False):
        layers = np.arange(1, len(curve.mean) + 1)
        axes.plot(layers, curve.mean, color=color, linewidth=1.8, label=curve.label)
        axes.fill_between(layers, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("layer (centre of the window)", fontsize=9, color=INK)
    axes.set_xticks(layers[:: max(1, len(layers) // 12)])
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
