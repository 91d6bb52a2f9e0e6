"""The plans that a search tried: edges against accuracy."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, INK, PALE, style_axes


def front_figure(steps: Sequence[tuple[float, float, bool]], dense: float) -> Figure:
    """Edges against accuracy: each plan that the search ran on the calibration samples."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "Plans tried (calibration)")
    for accepted, color, label in ((False, PALE, "rejected"), (True, COLORS[0], "kept")):
        points = [(100 * d, a) for d, a, ok in steps if ok == accepted]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=22, color=color, label=label, zorder=3)
    axes.axhline(dense, color=COLORS[1], linewidth=1.2, linestyle="--", label="dense")
    axes.set_xlabel("edges kept (%)", fontsize=9, color=INK)
    axes.set_ylabel("accuracy (%)", fontsize=9, color=INK)
    axes.invert_xaxis()
    axes.legend(fontsize=8, frameon=False)
    return figure
