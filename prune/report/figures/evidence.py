"""One explanation on a page: film strip, map, reply and curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune.report.figures.film import film_strip, heat_strip
from prune.report.figures.reply import reply_line
from prune.report.figures.style import COLORS, INK, MUTED, style_axes

TOP_AREA = 0.1
"""The regions outlined in the film: those that come first, until they cover this share; of a wrong
answer that is explained by the right one, those that have to go instead."""


def evidence_figure(
    record: Mapping[str, Any],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int32],
    saliency: NDArray[np.floating],
) -> Figure:
    """Draw an explanation.

    Args:
        record: of one sample (`prune.evidence.explain.record_of`).
        frames: `[T, H, W, 3]`.
        labels: region of each pixel, `[T, H, W]`.
        saliency: the attribution map, `[T, H, W]`.
    """
    count = len(frames)
    figure = Figure(figsize=(max(8.0, 1.25 * count), 6.6), layout="constrained")
    grid = figure.add_gridspec(4, 2, height_ratios=[1, 1, 0.32, 1.9])
    film = grid[0, :].subgridspec(1, count, wspace=0.03)
    heat = grid[1, :].subgridspec(1, count, wspace=0.03)
    top, caption = record["order"][: _count(record)], "evidence"
    if record.get("causes"):
        top, caption = record["causes"], "the cause"
    film_strip([figure.add_subplot(film[i]) for i in range(count)], frames, labels, top, caption)
    heat_strip([figure.add_subplot(heat[i]) for i in range(count)], frames, saliency, "map")
    target = record["target"]["tokens"]
    reply_line(figure.add_subplot(grid[2, :]), record["reply"], record["modality"]["code"], target)
    _curves(figure.add_subplot(grid[3, 0]), record)
    _options(figure.add_subplot(grid[3, 1]), record)
    verdict = "right" if record["correct"] else f"wrong, the answer is {record['answer']}"
    figure.suptitle(
        f"{record['question']}  →  {record['chosen']} ({verdict})".replace("$", r"\$"),
        fontsize=11, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _count(record: Mapping[str, Any]) -> int:
    return max(1, int(np.searchsorted(record["curves"]["area"], TOP_AREA)))


def _curves(axes: Axes, record: Mapping[str, Any]) -> None:
    curves, target = record["curves"], record["target"]["tokens"]
    style_axes(axes, "Probability of the target")
    area = 100 * np.array(curves["area"])
    for name, color, label in (
        ("insertion", COLORS[0], "shown alone"),
        ("deletion", COLORS[1], "removed"),
    ):
        p = np.array(curves[name])[:, target].mean(1)
        score = record["scores"][f"{name}_auc"]
        axes.plot(area, p, color=color, linewidth=1.8, label=f"{label} (AUC {score:.3f})")
    _share_axis(axes)


def _options(axes: Axes, record: Mapping[str, Any]) -> None:
    style_axes(axes, "Options, as regions are shown")
    area = 100 * np.array(record["curves"]["area"])
    p = np.array(record["curves"]["insertion_options"])
    for index, (option, color) in enumerate(zip(record["options"], COLORS * 4, strict=False)):
        style = "-" if option == record["answer"] else "--"
        axes.plot(area, p[:, index], style, color=color, linewidth=1.6,
                  label=option.replace("$", r"\$")[:40])  # fmt: skip
    _share_axis(axes)


def _share_axis(axes: Axes) -> None:
    axes.set_xlabel(
        "share of the clip, most important regions first (%)", fontsize=8.5, color=MUTED
    )
    axes.set_ylim(-0.02, 1.05)
    axes.legend(fontsize=8, frameon=False)
