"""The Pareto front before and after healing: cost against accuracy."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from prune.evaluate.stats import proportion_of
from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.results.healed import HealResult


def healed_figure(found: Sequence[HealResult]) -> Figure:
    """Accuracy on held-out samples over prefill FLOPs, in percent, with Wilson's 95% intervals.

    Each video counts as one answer there: too wide an interval rather than too narrow a one.

    Args:
        found: one per plan, of the same model and samples.
    """
    ordered = sorted(found, key=lambda healed: -healed.flops)
    shares = [100.0, *(100 * healed.flops for healed in ordered)]
    first = ordered[0]
    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    axes = figure.subplots()
    style_axes(axes, "The front, before and after healing")
    for name, color in (("pruned", COLORS[1]), ("healed", COLORS[0])):
        values = [first.dense, *(getattr(healed, name) for healed in ordered)]
        bands = [proportion_of(value, first.videos) for value in values]
        errors = [[b.value - b.low for b in bands], [b.high - b.value for b in bands]]
        axes.errorbar(
            shares, values, yerr=errors, color=color, marker="o", markersize=4, linewidth=1.6,
            elinewidth=0.8, capsize=2, label=name,
        )  # fmt: skip
    axes.axhline(first.dense, color=MUTED, linewidth=0.8, linestyle="--", label="dense")
    axes.invert_xaxis()
    axes.set_xlabel("prefill FLOPs (%)", fontsize=9, color=INK)
    axes.set_ylabel(f"accuracy on {first.n} held-out samples (%)", fontsize=9, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure
