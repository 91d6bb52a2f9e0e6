"""Effect of knockouts or patches per head: layers by heads, one panel for each of them."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.panels import panel_grid
from prune.report.figures.style import INK, style_axes
from prune.results.flow_map import Flow


def heads_figure(flow: Flow) -> Figure:
    """The mean of a flow's quantity when one head loses a pathway, or is patched."""
    heads = len(flow.panels[0].curves)
    figure, grid = panel_grid(len(flow.panels), 4.6, 1.4 + 0.28 * heads)
    maps = [np.array([curve.mean for curve in panel.curves]) for panel in flow.panels]
    largest = max(float(np.abs(means).max()) for means in maps) or 1.0
    for axes, panel, means in zip(grid, flow.panels, maps, strict=True):
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
        axes.set_ylabel(panel.curves[0].label.rpartition(" ")[0], fontsize=9, color=INK)
    figure.colorbar(mesh, ax=grid, shrink=0.8).set_label(flow.quantity, fontsize=8.5)
    return figure
