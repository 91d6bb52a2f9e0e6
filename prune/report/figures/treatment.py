"""The correction curve: answers corrected and broken as the evidence for them is removed."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, MUTED, style_axes
from prune.results.interval import Interval
from prune.results.treatment import Treatment


def treatment_figure(found: Treatment) -> Figure:
    """Draw shares of incorrect answers corrected and correct ones broken, and the accuracy."""
    figure = Figure(figsize=(8.6, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    style_axes(left, "Answers corrected and broken")
    area = [100 * a for a in found.gone]
    for rows, color, label in (
        (found.mended, COLORS[2], f"incorrect answers corrected (n = {found.wrong})"),
        (found.broken, COLORS[1], f"correct answers broken (n = {found.right})"),
    ):
        if rows:
            _band(left, area, rows, color, label)
    left.legend(fontsize=8, frameon=False)
    style_axes(right, "Accuracy of all answers")
    _band(right, area, found.accuracy, COLORS[0], "")
    for axes in (left, right):
        axes.set_xlabel("share of the clip removed (%)", fontsize=8.5, color=MUTED)
        axes.set_ylim(-2, 102)
    left.set_ylabel("%", fontsize=8.5, color=MUTED)
    return figure


def _band(
    axes: Axes, area: Sequence[float], rows: Sequence[Interval], color: str, label: str
) -> None:
    axes.plot(area, [r.value for r in rows], color=color, linewidth=1.8, label=label)
    axes.fill_between(
        area, [r.low for r in rows], [r.high for r in rows], color=color, alpha=0.15, linewidth=0
    )
