"""Servers under load: requests per second and waiting times by level."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune.report.figures.style import COLORS, INK, MUTED, style_axes
from prune.results.load import Level, LoadReport

PANELS = (
    ("requests per second", ("requests_per_second",)),
    ("first token (ms)", ("first_p50", "first_p95")),
    ("between tokens (ms)", ("token_p50", "token_p95")),
)
"""Title of each panel and the fields that it draws, of which the second is dashed."""

AXES = {"closed": "clients", "open": "requests sent per second"}


def load_figure(report: LoadReport) -> Figure:
    """A row of panels for each loop, a colour for each server: medians over runs.

    Times are the median of requests, and dashed their 95th percentile.
    """
    loops = list(dict.fromkeys(level.loop for level in report.levels))
    figure = Figure(figsize=(10.5, 3.2 * len(loops)), layout="constrained")
    grid = figure.subplots(len(loops), len(PANELS), squeeze=False)
    for loop, row in zip(loops, grid, strict=True):
        levels = [level for level in report.levels if level.loop == loop]
        for axes, (title, names) in zip(row, PANELS, strict=True):
            style_axes(axes, title)
            _panel(axes, report, levels, names)
            axes.set_xlabel(AXES[loop], fontsize=9, color=INK)
            axes.set_ylim(bottom=0)
    grid[0][0].legend(fontsize=8, frameon=False)
    figure.suptitle(
        "Solid: median. Dashed: 95th percentile.", x=0.01, ha="left", fontsize=8.5, color=MUTED
    )
    return figure


def _panel(axes: Axes, report: LoadReport, levels: list[Level], names: tuple[str, ...]) -> None:
    for color, server in zip(COLORS, report.servers, strict=False):
        for dash, name in zip(("-", "--"), names, strict=False):
            found = [(level.value, report.typical(server, level, name)) for level in levels]
            at = [(x, y) for x, y in found if y is not None]
            axes.plot(
                [x for x, _ in at], [y for _, y in at], dash, color=color, marker="o",
                markersize=3.5, linewidth=1.4, label=server if dash == "-" else None,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks([level.value for level in levels], [f"{level.value:g}" for level in levels])
    axes.minorticks_off()
