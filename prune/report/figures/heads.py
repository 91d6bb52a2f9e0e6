"""What each KV head carries: layers by heads, a panel a pathway."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from prune.flow import Flow
from prune.report.figures.style import INK, style_axes

MAX_COLUMNS = 3


def heads_figure(flow: Flow) -> Figure:
    """The mean of a flow's quantity when one KV head loses a pathway."""
    columns = min(MAX_COLUMNS, len(flow.panels))
    rows = -(-len(flow.panels) // columns)
    heads = len(flow.panels[0].curves)
    figure = Figure(figsize=(4.6 * columns, (1.4 + 0.28 * heads) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    maps = [np.array([curve.mean for curve in panel.curves]) for panel in flow.panels]
    largest = max(float(np.abs(means).max()) for means in maps) or 1.0
    for axes, panel, means in zip(grid.flat, flow.panels, maps, strict=False):
        style_axes(axes, fill(panel.title, 34))
        axes.grid(False)
        layers = means.shape[1]
        mesh = axes.pcolormesh(
            np.arange(layers + 1) + 0.5, np.arange(heads + 1) + 0.5, means,
            cmap="RdBu", vmin=-largest, vmax=largest, edgecolors="white", linewidth=0.5,
        )  # fmt: skip
        axes.set_yticks(np.arange(1, heads + 1, max(1, heads // 8)))
        axes.set_xticks(np.arange(1, layers + 1, max(1, layers // 12)))
        axes.set_xlabel(flow.step, fontsize=9, color=INK)
        axes.set_ylabel("KV head", fontsize=9, color=INK)
    for axes in list(grid.flat)[len(flow.panels) :]:
        axes.set_visible(False)
    figure.colorbar(mesh, ax=list(grid.flat), shrink=0.8).set_label(flow.quantity, fontsize=8.5)
    return figure
