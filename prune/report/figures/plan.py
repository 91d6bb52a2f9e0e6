"""A plan as a grid of layers and pathways."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from prune.layout.edges import EdgeHistogram
from prune.layout.freezing import FREEZABLE, updated
from prune.layout.pathways import MAP_ROWS, VIDEO
from prune.layout.reach import SAME_FRAME, Reach, narrowed
from prune.report.figures.style import INK, MUTED

KEPT = LinearSegmentedColormap.from_list("kept", ["#f1f3f5", "#3b6fb6"])


def plan_figure(reach: Reach, histogram: EdgeHistogram) -> Figure:
    """Which pathway keeps its edges in which layer, and where states are frozen."""
    shares = kept_shares(reach, histogram)
    rows = ~np.isnan(shares).all(1)
    names = [p.title for p, row in zip(MAP_ROWS, rows, strict=True) if row]
    moves = moving(reach, histogram)
    names += [f"{name} updated" for name in moves]
    shares = np.concatenate([shares[rows], *(row[None] for row in moves.values())])
    figure = Figure(figsize=(10.5, 0.36 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    mesh = axes.pcolormesh(shares, cmap=KEPT, vmin=0, vmax=1, edgecolors="white", linewidth=2)
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8.5, color=INK)
    layers = np.arange(len(reach))
    step = max(1, len(layers) // 16)
    axes.set_xticks(layers[::step] + 0.5, layers[::step] + 1, fontsize=8.5, color=MUTED)
    axes.invert_yaxis()
    axes.set_xlabel("layer", fontsize=9, color=INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, ticks=[0, 0.5, 1])
    bar.set_label("share of edges kept", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    axes.set_title(
        "Edges kept (blue) and removed (grey)", loc="left", fontsize=10.5, color=INK,
        fontweight="bold",
    )  # fmt: skip
    return figure


def moving(reach: Reach, histogram: EdgeHistogram) -> dict[str, np.ndarray]:
    """For each role of the prompt with frozen states the layers that update it, 0 or 1, `[L]`."""
    moves, there = updated(reach), histogram.pairs.sum((1, 2)) > 0
    return {
        role.name.lower(): moves[:, role].astype(float)
        for role in FREEZABLE
        if there[role] and not moves[:, role].all()
    }


def kept_shares(reach: Reach, histogram: EdgeHistogram) -> np.ndarray:
    """Share of each `MAP_ROWS` pathway's edges that is kept, `[rows, L]`; NaN where it has none."""
    kept = histogram.kept_by_roles(reach).mean(1)
    near = histogram.kept_by_roles(narrowed(reach, SAME_FRAME)).mean(1)
    every = histogram.pairs.sum(-1)
    shares = []
    for pathway in MAP_ROWS:
        queries, keys = np.array(pathway.queries), np.array(pathway.keys)
        block = np.ix_(np.arange(len(reach)), queries, keys)
        total = every[np.ix_(queries, keys)].sum()
        part = kept[block].sum((1, 2))
        if pathway.name in ("cross_frame", "intra_frame"):
            same = near[block].sum((1, 2))
            inside = histogram.pairs[np.ix_(VIDEO, VIDEO)][..., 0].sum()
            part = same if pathway.name == "intra_frame" else part - same
            total = inside if pathway.name == "intra_frame" else total - inside
        shares.append(part / total if total else np.full(len(reach), np.nan))
    return np.array(shares)
