"""Accuracy by task: dense, pruned, and random edges at the same budget."""

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, INK, MUTED, PALE, style_axes
from prune.result import AccuracyReport


def accuracy_figure(report: AccuracyReport) -> Figure:
    """Accuracy by task for dense, pruned and random edges, with 95% intervals."""
    rows = (*report.tasks, report.overall)
    figure = Figure(figsize=(10.5, 3.5), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "Accuracy on held-out questions")
    x = np.arange(len(rows))
    for offset, name, color in ((-0.27, "dense", MUTED), (0.0, "pruned", COLORS[0])):
        values = [getattr(row, name) for row in rows]
        heights = [v.value for v in values]
        errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
        axes.bar(x + offset, heights, 0.25, color=color, label=name, yerr=errors,
                 error_kw={"ecolor": INK, "elinewidth": 0.9, "capsize": 2})  # fmt: skip
    random = [row.random for row in rows if row.random is not None]
    if random:
        axes.bar(x + 0.27, random, 0.25, color=PALE,
                 label=f"random edges, same budget ({len(report.random)} seeds)")  # fmt: skip
    labels = [row.task.replace("_", " ") for row in rows]
    axes.set_xticks(x, labels, fontsize=8.5, color=INK)
    axes.set_ylabel("%", fontsize=9, color=INK)
    axes.set_ylim(0, 105)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.1))
    return figure
