"""The transfer matrix: plans by the task they were found on, and conditions of their use."""

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.style import INK, MUTED, style_axes
from prune.report.numbers import plus
from prune.results.transfer_matrix import Transfer


def transfer_figure(found: Transfer) -> Figure:
    """Points of accuracy that each plan loses (or wins) against dense, under each condition."""
    plans = list(found.flops)
    used = list(dict.fromkeys(cell.used_on for cell in found.cells))
    values = np.zeros((len(plans), len(used)))
    for cell in found.cells:
        values[plans.index(cell.found_on), used.index(cell.used_on)] = cell.difference.value
    figure = Figure(figsize=(2.6 + 0.95 * len(used), 1.4 + 0.42 * len(plans)), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "Accuracy against dense, in points")
    limit = max(1.0, float(np.abs(values).max()))
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("points of accuracy", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        dark = abs(value) > 0.6 * limit
        axes.text(
            column, row, plus(value), ha="center", va="center", fontsize=8,
            color="white" if dark else INK,
        )  # fmt: skip
    asked = {cell.used_on: cell.n for cell in found.cells}
    ticks = [f"{name.replace('_', chr(10))}\n(n={asked[name]})" for name in used]
    axes.set_xticks(range(len(used)), ticks, fontsize=8, color=INK)
    labels = [f"{task.replace('_', ' ')} ({100 * found.flops[task]:.0f}% FLOPs)" for task in plans]
    axes.set_yticks(range(len(plans)), labels, fontsize=8, color=INK)
    axes.set_xlabel("used on", fontsize=9, color=INK)
    axes.set_ylabel("found on", fontsize=9, color=INK)
    axes.grid(False)
    axes.tick_params(colors=MUTED, length=0)
    return figure
