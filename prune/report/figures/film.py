"""Film strips: the frames of a clip with the important regions marked."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from prune.report.figures.style import COLORS, INK, MUTED

HEAT = "magma"


def film_strip(
    axes: Sequence[Axes],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int32],
    top: Sequence[int],
    caption: str = "",
) -> None:
    """Draw every frame; regions other than `top` fade, those are outlined.

    Args:
        axes: one for each frame.
        frames: `[T, H, W, 3]`.
        labels: the region of each pixel, `[T, H, W]`.
        top: the regions to show.
        caption: beside the first frame.
    """
    shown = np.isin(labels, list(top))
    for index, (ax, frame) in enumerate(zip(axes, frames, strict=True)):
        faded = 0.35 * frame + 0.65 * 235
        ax.imshow(np.where(shown[index, ..., None], frame, faded).astype(np.uint8))
        if shown[index].any() and not shown[index].all():
            ax.contour(shown[index], levels=[0.5], colors=[COLORS[1]], linewidths=1.4)
        _bare(ax)
        ax.set_title(str(index + 1), fontsize=8, color=MUTED, pad=2)
    axes[0].set_ylabel(caption, fontsize=8.5, color=INK)


def heat_strip(
    axes: Sequence[Axes],
    frames: NDArray[np.uint8],
    saliency: NDArray[np.floating],
    caption: str = "",
) -> None:
    """Draw a map `[T, H, W]` in [0, 1] over the grey frames `[T, H, W, 3]`."""
    for ax, frame, heat in zip(axes, frames, saliency, strict=True):
        ax.imshow(frame.mean(-1), cmap="gray", vmin=0, vmax=255)
        ax.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=0.6)
        _bare(ax)
    axes[0].set_ylabel(caption, fontsize=8.5, color=INK)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
