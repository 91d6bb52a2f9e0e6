"""Every figure, in one style."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from prune.edges import EdgeHistogram
from prune.pathways import PUBLISHED, QUESTION_SEALED, VIDEO, Pathway, Reach
from prune.result import AccuracyReport, Curve, Flow
from prune.segments import Role

COLORS = ("#3b6fb6", "#d1495b", "#2a9d74", "#e09f3e", "#7d5ba6", "#6b7280", "#159fb3")
INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
KEPT = LinearSegmentedColormap.from_list("kept", ["#f1f3f5", "#3b6fb6"])

MAP_ROWS = (
    *PUBLISHED[:1],
    Pathway("intra_frame", VIDEO, VIDEO),
    *PUBLISHED[1:],
    Pathway("video_to_bridge_and_tail", VIDEO, (Role.BRIDGE, Role.TAIL)),
    Pathway("question_to_options", QUESTION_SEALED, (Role.OPTIONS,)),
    Pathway("question_to_question", QUESTION_SEALED, QUESTION_SEALED),
)
"""Rows of a plan's grid."""


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=8.5)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _curves(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve, color in zip(curves, COLORS * 3, strict=False):
        layers = np.arange(1, len(curve.mean) + 1)
        axes.plot(layers, curve.mean, color=color, linewidth=1.8, label=curve.label)
        axes.fill_between(layers, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("layer (centre of the window)", fontsize=9, color=INK)
    axes.set_xticks(layers[:: max(1, len(layers) // 12)])
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def flow_figure(flow: Flow, model: str) -> Figure:
    """Change of the answer's probability when a pathway is knocked out, layer by layer."""
    panels = [("Cross-frame edges, by task", flow.by_task)] if flow.by_task else []
    panels += [("Pathways, all tasks", flow.pathways)] if flow.pathways else []
    figure = Figure(figsize=(5.25 * len(panels), 4.6), layout="constrained")
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        _style(axes, title)
        _curves(axes, curves)
    figure.axes[0].set_ylabel("change of answer probability (%)", fontsize=9, color=INK)
    counts = flow.counts
    figure.suptitle(
        f"{model}: attention knockout, window {flow.window}; {counts['traced']} of "
        f"{counts['samples']} samples traced ({counts['correct']} right, "
        f"{counts['failed']} failed); bands: 95% bootstrap",
        fontsize=8.5,
        color=MUTED,
        x=0.01,
        ha="left",
    )
    return figure


def kept_shares(reach: Reach, histogram: EdgeHistogram) -> np.ndarray:
    """Share of each `MAP_ROWS` pathway's edges that is kept, `[rows, L]`; NaN where it has none."""
    kept = histogram.kept_by_roles(reach).mean(1)
    near = histogram.kept_by_roles(np.minimum(reach, 0)).mean(1)
    every = histogram.pairs.sum(-1)
    shares = []
    for pathway in MAP_ROWS:
        block = np.ix_(range(len(reach)), pathway.queries, pathway.keys)
        total = every[np.ix_(pathway.queries, pathway.keys)].sum()
        part = kept[block].sum((1, 2))
        if pathway.name in ("cross_frame", "intra_frame"):
            same = near[block].sum((1, 2))
            inside = histogram.pairs[np.ix_(VIDEO, VIDEO)][..., 0].sum()
            part = same if pathway.name == "intra_frame" else part - same
            total = inside if pathway.name == "intra_frame" else total - inside
        shares.append(part / total if total else np.full(len(reach), np.nan))
    return np.array(shares)


def plan_figure(reach: Reach, histogram: EdgeHistogram) -> Figure:
    """Which pathway keeps its edges in which layer."""
    shares = kept_shares(reach, histogram)
    rows = ~np.isnan(shares).all(1)
    names = [p.title for p, row in zip(MAP_ROWS, rows, strict=True) if row]
    figure = Figure(figsize=(10.5, 0.36 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(shares[rows], cmap=KEPT, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8.5, color=INK)
    layers = np.arange(len(reach))
    step = max(1, len(layers) // 16)
    axes.set_xticks(layers[::step] + 0.5, layers[::step] + 1, fontsize=8.5, color=MUTED)
    axes.invert_yaxis()
    axes.set_xlabel("layer", fontsize=9, color=INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(
        "Edges kept (blue) and removed (grey)", loc="left", fontsize=10.5, color=INK,
        fontweight="bold",
    )  # fmt: skip
    return figure


def front_figure(steps: Sequence[tuple[float, float, bool]], dense: float) -> Figure:
    """Edges against accuracy: each plan that the search ran on the calibration samples."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    _style(axes, "Plans tried (calibration)")
    for accepted, color, label in ((False, "#cbd2d9", "rejected"), (True, COLORS[0], "kept")):
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


def accuracy_figure(report: AccuracyReport) -> Figure:
    """Accuracy by task for dense, pruned and random edges, with 95% intervals."""
    rows = (*report.tasks, report.overall)
    figure = Figure(figsize=(10.5, 3.5), layout="constrained")
    axes = figure.subplots()
    _style(axes, "Accuracy on held-out questions")
    x = np.arange(len(rows))
    for offset, name, color in ((-0.27, "dense", MUTED), (0.0, "pruned", COLORS[0])):
        values = [getattr(row, name) for row in rows]
        heights = [v.value for v in values]
        errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
        axes.bar(x + offset, heights, 0.25, color=color, label=name, yerr=errors,
                 error_kw={"ecolor": INK, "elinewidth": 0.9, "capsize": 2})  # fmt: skip
    random = [row.random for row in rows if row.random is not None]
    if random:
        axes.bar(x + 0.27, random, 0.25, color="#cbd2d9",
                 label=f"random edges, same budget ({len(report.random)} seeds)")  # fmt: skip
    labels = [row.task.replace("_", " ") for row in rows]
    axes.set_xticks(x, labels, fontsize=8.5, color=INK)
    axes.set_ylabel("%", fontsize=9, color=INK)
    axes.set_ylim(0, 105)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.1))
    return figure


def tokens_figure(live: Sequence[int], every: Sequence[int]) -> Figure:
    """Tokens whose state can still reach an answer, by layer."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    _style(axes, "Tokens that still matter")
    layers = np.arange(1, len(live) + 1)
    axes.bar(layers, every, color="#e4e7eb", label="dead, or only read")
    axes.bar(layers, live, color=COLORS[0], label="alive")
    axes.set_xlabel("layer", fontsize=9, color=INK)
    axes.set_ylabel("tokens", fontsize=9, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=160, metadata={"Software": None})


def svg(figure: Figure) -> str:
    """The figure as a data URI that an `img` element shows."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "prune"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
