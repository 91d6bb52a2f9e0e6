"""The figure and tables of `docs/when-it-pays.md`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from pays_counted import BATCHES, PLANS, SCANNED, count

from prune.report.figures.style import COLORS, MUTED, save_figure, style_axes

Rows = Sequence[Mapping[str, str]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(path: Path, shipped: Rows, random: Rows) -> None:
    """Three panels of counted gains over the prompt's length, and one of measured ones.

    Args:
        path: the PNG.
        shipped: rows of `when_it_pays`.
        random: rows of `short.py`, of models with random weights.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    prefill, room, decode, measured = figure.subplots(2, 2).flat
    for plan, color in zip(PLANS, COLORS, strict=False):
        found = [count(plan, frames) for frames in SCANNED]
        tokens = [gains.tokens for gains in found]
        if plan.mode == "single_turn":  # a follow-up question changes nothing of the prefill
            prefill.plot(tokens, [g.prefill for g in found], color=color, label=plan.name)
        room.plot(tokens, [g.requests for g in found], color=color, label=plan.name)
    for plan, style in zip((PLANS[1], PLANS[3]), ("-", "--"), strict=True):
        found = [count(plan, frames) for frames in SCANNED]
        for index, (batch, color) in enumerate(zip(BATCHES, COLORS, strict=False)):
            gains = [g.decode[index] for g in found]
            name = f"{plan.name}, batch {batch}"
            decode.plot([g.tokens for g in found], gains, style, color=color, label=name)
    _measured(measured, shipped, random)
    for axes, title in (
        (prefill, "Prefill: FLOPs, counted"),
        (room, "Memory and requests: KV cache, counted"),
        (decode, "Decode: bytes read in a step, counted"),
        (measured, "Prefill: process time on a CPU, measured"),
    ):
        style_axes(axes, title)
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("tokens of the prompt", fontsize=9, color=MUTED)
        axes.set_ylabel("dense over pruned", fontsize=9, color=MUTED)
        axes.axhline(1, color=MUTED, linewidth=0.8)
        axes.legend(fontsize=7.5, frameon=False)
    for axes in (room, decode):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
    save_figure(figure, path)


def _measured(axes: Axes, shipped: Rows, random: Rows) -> None:
    groups: dict[str, list[tuple[int, float]]] = {}
    for row in shipped:
        name = f"{row['model']}, batch {row['batch']}"
        groups.setdefault(name, []).append((int(row["tokens"]), float(row["prefill"])))
    shown = {"phase": "prefill", "dtype": "float32", "batch": "1", "question": "another each"}
    for row in random:
        if shown.items() <= row.items():
            name = f"random, {row['hidden']} wide, batch 1"
            groups.setdefault(name, []).append((int(row["length"]), float(row["ratio"])))
    for (name, points), color in zip(sorted(groups.items()), COLORS, strict=False):
        axes.plot(*zip(*sorted(points), strict=True), "o-", color=color, label=name, markersize=3)
