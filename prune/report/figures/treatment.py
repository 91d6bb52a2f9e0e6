"""The correction curve: answers corrected and broken as the evidence for them is removed."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, MUTED, style_axes
from prune.results.interval import Interval
from prune.results.treatment import Treatment

FEWEST_DRAWN = 2
"""Answers that have a curve: that of a single one is a step that says nothing of others."""


def treatment_figure(found: Treatment) -> Figure:
    """Draw shares of incorrect answers corrected and correct ones broken, and the accuracy.

    Bands are the 95% intervals of `found`.
    """
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    style_axes(left, "Answers corrected and broken")
    area = [100 * a for a in found.gone]
    for rows, count, color, label in (
        (found.mended, found.wrong, COLORS[2], "incorrect answers corrected"),
        (found.broken, found.right, COLORS[1], "correct answers broken"),
    ):
        if count >= FEWEST_DRAWN:
            _band(left, area, rows, color, f"{label} (n = {count})")
        elif count:
            left.plot([], [], " ", label=f"{label}: {count}, too few for a curve")
    if left.get_legend_handles_labels()[0]:
        left.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    style_axes(right, f"Accuracy of all answers (n = {found.wrong + found.right})")
    _band(right, area, found.accuracy, COLORS[0], "")
    for axes in (left, right):
        axes.set_xlabel("share of the clip removed (%)", fontsize=8.5, color=MUTED)
        axes.set_ylim(-2, 102)
    left.set_ylabel("share of the answers (%)", fontsize=8.5, color=MUTED)
    return figure


def _band(
    axes: Axes, area: Sequence[float], rows: Sequence[Interval], color: str, label: str
) -> None:
    axes.plot(area, [r.value for r in rows], color=color, linewidth=1.8, label=label)
    axes.fill_between(
        area, [r.low for r in rows], [r.high for r in rows], color=color, alpha=0.15, linewidth=0
    )
