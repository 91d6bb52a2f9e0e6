"""The words of video tokens, layer by layer (Map the Flow, 2510.13251, figure 4)."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.report.figures.style import COLORS, INK, MUTED, style_axes

Floats = NDArray[np.float64]


def words_figure(
    shares: Mapping[str, Floats],
    frequencies: Mapping[str, Floats],
    bins: Sequence[str],
    what: str,
    names: Mapping[str, Sequence[str]],
) -> Figure:
    """Words of each group on video tokens: how often by layer, and in which layers each occurs.

    Args:
        shares: by group, percent of the video tokens that say one of its words, for layers 0 to L.
        frequencies: by group, the share of each word's hits in every bin, `[bins, W]`, NaN for
            words that occur too rarely.
        bins: names of the bins.
        what: which model and samples.
        names: by group, the word of each column of `frequencies`, written where its curve peaks.
    """
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    often, home = figure.subplots(1, 2)
    style_axes(often, "Video tokens that say a word of the group")
    style_axes(home, "Where a word is said (each sums to 1)")
    for (group, share), color in zip(shares.items(), cycle(COLORS), strict=False):
        often.plot(np.arange(len(share)), share, color=color, linewidth=1.8, label=group)
        _home(home, frequencies[group], color, group, names[group])
    often.set_xlabel("layer (0: embeddings)", fontsize=9, color=INK)
    often.set_ylabel("% of video tokens", fontsize=9, color=INK)
    home.set_xticks(range(len(bins)), bins)
    home.set_xlabel("layers", fontsize=9, color=INK)
    for axes in (often, home):
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, frameon=False)
    figure.suptitle(what, fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure


def _home(axes: Axes, shares: Floats, color: str, group: str, names: Sequence[str]) -> None:
    enough = ~np.isnan(shares).any(0)
    said = shares[:, enough]
    if not said.size:
        axes.plot([], color=color, label=f"{group} (no word is frequent enough)")
        return
    axes.plot(said, color=color, linewidth=0.6, alpha=0.35)
    for name, curve in zip(np.array(names)[enough], said.T, strict=True):
        peak = int(curve.argmax())
        axes.annotate(name, (peak, curve[peak]), xytext=(2, 2), textcoords="offset points",
                      fontsize=6.5, color=color)  # fmt: skip
    label = f"{group} (mean of {said.shape[1]} words)"
    axes.plot(said.mean(1), color=color, linewidth=2, marker="o", markersize=4, label=label)
