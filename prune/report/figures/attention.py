"""Attention maps of a query over video tokens (Map the Flow, 2510.13251, figure 6)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.report.figures.style import INK, MUTED

FLOOR = 5e-5
"""Added before the logarithm, as in the published code."""


def attention_figure(maps: Mapping[str, NDArray[np.float64]], what: str) -> Figure:
    """One panel per run; in it layers are rows of frames and frames are grids of cells.

    Args:
        maps: by title, attention weights `[L, T, h, w]`, NaN where a cell has no token.
        what: which model, sample, query and heads.
    """
    some = next(iter(maps.values()))
    layers, frames, height, width = some.shape
    figure = Figure(figsize=(5.25 * len(maps), min(12, 1.2 + 0.35 * layers)), layout="constrained")
    panels = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    logs = {title: np.log10(FLOOR + values) for title, values in maps.items()}
    low, high = np.log10(FLOOR), max(float(np.nanmax(values)) for values in logs.values())
    for axes, (title, values) in zip(panels, logs.items(), strict=True):
        picture = values.transpose(0, 2, 1, 3).reshape(layers * height, frames * width)
        image = axes.imshow(picture, cmap="viridis", vmin=low, vmax=high, aspect="auto",
                            interpolation="nearest")  # fmt: skip
        axes.hlines(np.arange(1, layers) * height - 0.5, -0.5, frames * width - 0.5,
                    color="white", linewidth=0.6)  # fmt: skip
        axes.vlines(np.arange(1, frames) * width - 0.5, -0.5, layers * height - 0.5,
                    color="white", linewidth=0.6)  # fmt: skip
        axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
        step = max(1, frames // 16)
        shown = np.arange(0, frames, step)
        axes.set_xticks((shown + 0.5) * width - 0.5, shown + 1, fontsize=8, color=MUTED)
        axes.set_xlabel("frame", fontsize=9, color=INK)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    shown = np.arange(0, layers, max(1, layers // 16))
    panels[0].set_yticks((shown + 0.5) * height - 0.5, shown + 1, fontsize=8, color=MUTED)
    panels[0].set_ylabel("layer", fontsize=9, color=INK)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.6)
    bar.set_label("log10 of the attention weight", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    figure.suptitle(what, fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure
