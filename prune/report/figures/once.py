"""Knockouts in one set of layers: the loss of every task (Map the Flow, 2510.13251, table 2)."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.panels import panel_grid
from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.results.flow_map import Flow


def once_figure(flow: Flow) -> Figure:
    """One bar per task with its interval, if it has one; one panel per pathway."""
    tasks = len(flow.panels[0].curves)
    figure, grid = panel_grid(len(flow.panels), 4.6, 1.3 + 0.3 * tasks, sharex=True, sharey=True)
    for axes, panel in zip(grid, flow.panels, strict=True):
        style_axes(axes, fill(panel.title, 34))
        mean = [curve.mean[0] for curve in panel.curves]
        axes.barh(np.arange(tasks), mean, color=COLORS[0], height=0.6)
        for row, curve in enumerate(panel.curves):
            if curve.low:
                axes.hlines(row, curve.low[0], curve.high[0], color=INK, linewidth=1.2)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        labels = [f"{curve.label} (n={curve.n})" for curve in panel.curves]
        axes.set_yticks(np.arange(tasks), labels, fontsize=8.5)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(flow.quantity, fontsize=9, color=INK)
    grid[0].invert_yaxis()
    return figure
