"""Live tokens by layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, GRID, INK, style_axes


def tokens_figure(live: Sequence[int], every: Sequence[int]) -> Figure:
    """Tokens whose state can still reach an answer, by layer."""
    figure = Figure(figsize=(10.5, 2.6), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "Tokens that still matter")
    layers = np.arange(1, len(live) + 1)
    axes.bar(layers, every, color=GRID, label="dead, or only read")
    axes.bar(layers, live, color=COLORS[0], label="alive")
    axes.set_xlabel("layer", fontsize=9, color=INK)
    axes.set_ylabel("tokens", fontsize=9, color=INK)
    axes.set_xticks(layers[:: max(1, len(layers) // 16)])
    axes.margins(x=0.01)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return figure
