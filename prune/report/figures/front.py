"""The plans that a search tried: cost against accuracy, or agreement of replies."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune.evaluate.stats import proportion_of
from prune.report.figures.style import COLORS, INK, MUTED, PALE, style_axes
from prune.results.export_result import SearchReport

PANELS = (("edges", "edges (%)"), ("flops", "prefill FLOPs (%)"), ("kv_bytes", "KV cache (%)"))


def front_figure(report: SearchReport) -> Figure:
    """Accuracy on the calibration samples against edges, FLOPs and KV bytes, shares of dense.

    Agreement with the dense model stands for accuracy where no sample has options.

    The line is the Pareto front of a panel; bars are Wilson's 95% intervals of its points.
    Each video counts as one answer there: too wide an interval rather than too narrow a one.
    """
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    for axes, (cost, label) in zip(figure.subplots(1, 3, sharey=True), PANELS, strict=True):
        style_axes(axes, "")
        _panel(axes, report, cost)
        axes.set_xlabel(label, fontsize=9, color=INK)
        axes.invert_xaxis()
    label = "agreement (%)" if _quality(report) == "agreement" else "accuracy (%)"
    figure.axes[0].set_ylabel(label, fontsize=9, color=INK)
    figure.axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.suptitle(
        f"Plans tried on {report.samples} calibration samples", x=0.01, ha="left", fontsize=8.5,
        color=MUTED,
    )  # fmt: skip
    return figure


def _panel(axes: Axes, report: SearchReport, cost: str) -> None:
    quality = _quality(report)
    places = [(100 * getattr(point, cost), point) for point in report.points]
    for accepted, color, label in ((False, PALE, "only tried"), (True, COLORS[0], "accepted")):
        chosen = [(x, getattr(p, quality)) for x, p in places if p.accepted == accepted]
        if chosen:
            x, y = zip(*chosen, strict=True)
            axes.scatter(x, y, s=20, color=color, label=label, zorder=3)
    # From the cheapest on, a plan is on the front if it answers better than every cheaper one.
    line: list[tuple[float, float]] = []
    for x, y in sorted(
        [(x, getattr(point, quality)) for x, point in places], key=lambda at: (at[0], -at[1])
    ):
        if not line or y > line[-1][1]:
            line.append((x, y))
    bands = [proportion_of(accuracy, report.videos) for _, accuracy in line]
    errors = [[b.value - b.low for b in bands], [b.high - b.value for b in bands]]
    axes.errorbar(
        [x for x, _ in line], [y for _, y in line], yerr=errors, color=COLORS[1], linewidth=1.4,
        ecolor=PALE, elinewidth=0.8, capsize=2, drawstyle="steps-post", label="front", zorder=2,
    )  # fmt: skip


def _quality(report: SearchReport) -> str:
    """What a plan's point says of its answers."""
    return "agreement" if report.open == report.samples else "accuracy"
