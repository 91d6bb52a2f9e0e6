"""The words of video tokens, each drawn on its patch of the decoded frame."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from prune.report.figures.style import COLORS, INK, MUTED

MAX_COLUMNS = 8
Box = tuple[float, float, float, float]


def overlay_figure(
    frames: NDArray[np.uint8],
    box: Box,
    words: NDArray[np.int64],
    vocabulary: Sequence[tuple[str, str]],
    bins: Sequence[str],
    what: str,
) -> Figure:
    """One row per bin of layers, one column per frame.

    Args:
        frames: the decoded frame of every temporal unit, `[T, H, W, 3]`.
        box: top, left, bottom, right of what the grid covers, in pixels.
        words: index in `vocabulary` of the word of each cell, or -1, `[bins, T, h, w]`.
        vocabulary: `(group, word)` pairs.
        bins: names of the rows.
        what: which model and sample.
    """
    columns = np.linspace(0, len(frames) - 1, min(len(frames), MAX_COLUMNS)).round().astype(int)
    shape = frames.shape[1] / frames.shape[2]
    figure = Figure(
        figsize=(2.1 * len(columns), 2.1 * shape * len(bins) + 0.7), layout="constrained"
    )
    grid = figure.subplots(len(bins), len(columns), squeeze=False)
    groups = list(dict.fromkeys(group for group, _ in vocabulary))
    color = dict(zip(groups, cycle(COLORS), strict=False))
    for row, name in enumerate(bins):
        for column, frame in enumerate(columns):
            axes = grid[row, column]
            # Paler, so that the words can be read.
            axes.imshow(255 - (255 - frames[frame]) // 2)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(f"frame {frame + 1}", fontsize=8, color=MUTED)
            _write(axes, words[row, frame], box, vocabulary, color)
        grid[row, 0].set_ylabel(f"layers {name}", fontsize=8, color=INK)
    handles = [Line2D([], [], color=color[group], linewidth=4, label=group) for group in groups]
    figure.legend(handles=handles, fontsize=8, frameon=False, ncols=len(groups), loc="upper right")
    figure.suptitle(what, fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure


def _write(
    axes: Axes,
    said: NDArray[np.int64],
    box: Box,
    vocabulary: Sequence[tuple[str, str]],
    color: dict[str, str],
) -> None:
    """Write the words of one frame's cells `[h, w]`."""
    top, left, bottom, right = box
    high, wide = (bottom - top) / said.shape[0], (right - left) / said.shape[1]
    # Width of a cell in points, at 2.1 inches per frame, for about seven letters.
    size = np.clip(2.1 * 72 / said.shape[1] / 4.5, 2, 8)
    for row, column in np.argwhere(said >= 0):
        group, word = vocabulary[said[row, column]]
        place = left + (column + 0.5) * wide, top + (row + 0.5) * high
        axes.text(
            *place, word, color=color[group], fontsize=size, ha="center", va="center",
            fontweight="bold", clip_on=True, path_effects=[withStroke(linewidth=2, foreground="w")],
        )  # fmt: skip
