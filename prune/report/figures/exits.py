"""Histogram of the layers at which the answer is already final."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, INK, MUTED, style_axes


def exits_figure(layers: Mapping[str, Sequence[int]], num_layers: int, what: str) -> Figure:
    """Samples whose answer is final at each layer, and the share that an early exit would keep.

    Args:
        layers: by label, the layer (1-based) of every sample.
        num_layers: L.
        what: which model and samples.
    """
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    counts, shares = figure.subplots(1, 2)
    style_axes(counts, "Layer that says the final answer")
    counts.margins(y=0.15)
    style_axes(shares, "Samples that have it by then")
    x = np.arange(1, num_layers + 1)
    width = 0.8 / len(layers)
    for number, ((label, values), color) in enumerate(
        zip(layers.items(), cycle(COLORS), strict=False)
    ):
        histogram = np.bincount(values, minlength=num_layers + 1)[1:]
        offset = (number - (len(layers) - 1) / 2) * width
        counts.bar(x + offset, histogram, width, color=color, label=label)
        share = 100 * histogram.cumsum() / len(values)
        shares.step(x, share, where="post", color=color, linewidth=1.8)
    counts.set_ylabel("samples", fontsize=9, color=INK)
    shares.set_ylabel("%", fontsize=9, color=INK)
    shares.set_ylim(0, 105)
    for axes in (counts, shares):
        axes.set_xlabel("layer", fontsize=9, color=INK)
        axes.set_xticks(x[:: max(1, num_layers // 12)])
    counts.legend(fontsize=8, frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.02))
    figure.suptitle(what, fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure
