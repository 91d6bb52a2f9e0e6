"""Generation probability by layer (Map the Flow, 2510.13251, figure 9)."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.evaluate.stats import bootstrap_band
from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.results.interval import FEWEST

Curve = tuple[NDArray[np.float64], Sequence[str]]
"""Percent `[N, L]`, and the key of each sample's video."""


def answer_figure(panels: Mapping[str, Mapping[str, Curve]], what: str) -> Figure:
    """Probability of option letters after every layer, with 95% bootstrap bands by video.

    Curves over too few videos have no band.

    Args:
        panels: by title of the panel and label of the curve.
        what: which model and samples, for the line on top.
    """
    figure = Figure(figsize=(5.25 * len(panels), 4.2), layout="constrained")
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        style_axes(axes, title)
        for (label, (values, videos)), color in zip(curves.items(), cycle(COLORS), strict=False):
            layers = np.arange(1, values.shape[1] + 1)
            mean, low, high = bootstrap_band(values, videos)
            axes.plot(layers, mean, color=color, linewidth=1.8, label=label)
            axes.fill_between(layers, low, high, color=color, alpha=0.15, linewidth=0)
        axes.set_xlabel("layer", fontsize=9, color=INK)
        axes.set_xticks(layers[:: max(1, len(layers) // 12)])
        axes.set_ylim(-2, 102)
        axes.legend(
            fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16)
        )
    figure.axes[0].set_ylabel("probability of the letter (%)", fontsize=9, color=INK)
    figure.suptitle(
        f"{what}; bands: 95% bootstrap by video, from {FEWEST} videos on",
        fontsize=8.5, color=MUTED, x=0.01, ha="left",
    )  # fmt: skip
    return figure
