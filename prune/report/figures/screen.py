"""A gradient screen against exact knockouts."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.report.figures.style import COLORS, INK, MUTED, style_axes

Floats = NDArray[np.float64]
FLOOR = 1e-6
"""Smaller changes are drawn here: axes are logarithmic."""


def screen_figure(
    strength: Floats, rows: Sequence[str], predicted: Floats, exact: Floats, top: int, what: str
) -> Figure:
    """Predicted strength of every pathway in every layer, and its accuracy.

    Args:
        strength: predicted mean size of the change, nats, `[P, L]`.
        rows: names of the pathways.
        predicted: of every candidate, the strongest first, `[C]`.
        exact: the same by exact knockout, NaN where none was run, `[C]`.
        top: how many of the first count as strong.
        what: which model and samples, and the rank correlation.
    """
    figure = Figure(figsize=(11, 0.3 * len(rows) + 2.2), layout="constrained")
    grid, points = figure.subplots(1, 2, width_ratios=(1.3, 1))
    image = grid.pcolormesh(
        np.log10(np.maximum(strength, FLOOR)), cmap="viridis", edgecolors="white", linewidth=1
    )
    grid.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=8.5, color=INK)
    layers = np.arange(0, strength.shape[1], max(1, strength.shape[1] // 16))
    grid.set_xticks(layers + 0.5, layers + 1, fontsize=8.5, color=MUTED)
    grid.invert_yaxis()
    grid.set_xlabel("layer (centre of the window)", fontsize=9, color=INK)
    grid.tick_params(length=0)
    grid.spines[:].set_visible(False)
    grid.set_title("Predicted strength", loc="left", fontsize=10.5, color=INK, fontweight="bold")
    bar = figure.colorbar(image, ax=grid)
    bar.set_label("log10 of the change of log p (nats)", fontsize=8.5, color=INK)
    bar.outline.set_visible(False)

    style_axes(points, "Predicted against exact")
    strongest = np.zeros(len(exact), bool)
    strongest[np.argsort(-np.nan_to_num(exact, nan=-1), kind="stable")[:top]] = True
    first = np.arange(len(exact)) < top
    known = ~np.isnan(exact)
    for chosen, color, label in (
        (known & ~(strongest & ~first), COLORS[0], "run exactly"),
        (known & strongest & ~first, COLORS[1], f"missed among the {top} strongest"),
    ):
        if not chosen.any():
            continue
        x, y = (np.maximum(values[chosen], FLOOR) for values in (predicted, exact))
        points.scatter(x, y, s=14, color=color, label=label, alpha=0.8, linewidth=0)
    ends = [FLOOR, max(FLOOR * 10, np.nanmax(exact), predicted.max())]
    points.plot(ends, ends, color=MUTED, linewidth=0.8)
    points.set(xscale="log", yscale="log")
    points.set_xlabel("predicted change of log p (nats)", fontsize=9, color=INK)
    points.set_ylabel("exact", fontsize=9, color=INK)
    points.legend(fontsize=8, frameon=False)
    figure.suptitle(what, fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure
