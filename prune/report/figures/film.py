"""Film strips: the frames of a clip with the important regions marked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from prune.report.figures.style import COLORS, INK, MUTED

EVIDENCE: Colormap = LinearSegmentedColormap.from_list(
    "evidence", ["#ffffff", "#fde7b0", "#f6a94a", "#c8552b", "#5d1a1a"]
)
"""From what does not matter to what the target rests on; for regions and words alike."""

SHOWN, REMOVED = COLORS[0], COLORS[1]
"""What is shown or should be, and what is removed or should be, in every panel."""

RANKED = 9
"""Regions whose rank is written on them."""


def film_strip(
    axes: Sequence[Axes],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int32],
    top: Sequence[int],
    caption: str = "",
    color: str = SHOWN,
    ranked: bool = False,
    objects: Sequence[Mapping[str, Any]] = (),
    first: int = 0,
) -> None:
    """Draw every frame; regions other than `top` fade, those are outlined.

    Args:
        axes: one for each frame.
        frames: `[T, H, W, 3]`.
        labels: the region of each pixel, `[T, H, W]`.
        top: the regions to show.
        caption: beside the first frame.
        color: of the outline.
        ranked: whether the first of `top` bear their rank.
        objects: known ones with their `boxes` in each frame, in shares of the frame; those that
            are `named` are drawn dashed, others dotted.
        first: index of the first of these frames in the clip.
    """
    shown = np.isin(labels, list(top))
    for index, (ax, frame) in enumerate(zip(axes, frames, strict=True)):
        faded = 0.35 * frame + 0.65 * 235
        ax.imshow(np.where(shown[index, ..., None], frame, faded).astype(np.uint8))
        if shown[index].any():
            inside = np.pad(shown[index], 1).astype(float)  # So that the frame's edge is drawn.
            rows, columns = (np.arange(-1, size + 1) for size in shown[index].shape)
            ax.contour(columns, rows, inside, levels=[0.5], colors=[color], linewidths=1.4)
            ax.set(xlim=(-1, len(columns) - 2), ylim=(len(rows) - 2, -1))
        if ranked:
            _write_ranks(ax, labels[index], top, color)
        for known in objects:
            for box in known["boxes"][index]:
                _draw_box(ax, box, known["named"], frame.shape[:2])
        _bare(ax)
        if first or len(frames) > 1:
            ax.set_title(str(first + index + 1), fontsize=8.5, color=MUTED, pad=2)
    axes[0].set_ylabel(caption, fontsize=8.5, color=INK)


def heat_strip(
    axes: Sequence[Axes],
    frames: NDArray[np.uint8],
    saliency: NDArray[np.floating],
    caption: str = "",
) -> None:
    """Draw a map `[T, H, W]` in [0, 1], shaded by the grey frames `[T, H, W, 3]`."""
    for ax, frame, heat in zip(axes, frames, saliency, strict=True):
        shade = 0.55 + 0.45 * frame.mean(-1, keepdims=True) / 255
        ax.imshow(EVIDENCE(heat)[..., :3] * shade)
        _bare(ax)
    axes[0].set_ylabel(caption, fontsize=8.5, color=INK)


def _draw_box(ax: Axes, box: Sequence[float], named: bool, shape: tuple[int, ...]) -> None:
    """A box in shares of a frame of a shape `(H, W)`, on white so that it shows on any colour."""
    (height, width), (left, top, right, bottom) = shape, box
    ax.add_patch(
        Rectangle(
            (left * width - 0.5, top * height - 0.5),
            (right - left) * width,
            (bottom - top) * height,
            fill=False,
            edgecolor=INK,
            linewidth=1.2 if named else 0.8,
            linestyle=(0, (3, 2)) if named else (0, (1, 2)),
            path_effects=[withStroke(linewidth=2.4 if named else 1.6, foreground="white")],
        )
    )


def _write_ranks(ax: Axes, labels: NDArray[np.int32], top: Sequence[int], color: str) -> None:
    for rank, region in enumerate(top[:RANKED], 1):
        rows, columns = np.nonzero(labels == region)
        if len(rows):
            # The pixel of the region nearest to its centre: the centre itself may lie outside.
            away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
            near = int(away.argmin())
            ax.text(
                columns[near], rows[near], str(rank), fontsize=8, color="white", ha="center",
                va="center", fontweight="bold",
                path_effects=[withStroke(linewidth=2.2, foreground=color)],
            )  # fmt: skip


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
