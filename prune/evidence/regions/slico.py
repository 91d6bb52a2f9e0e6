"""SLICO superpixels exactly as the authors of 2509.22496 cut them: by OpenCV, in BGR."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import UsageError, install_extra
from prune.evidence.regions.regions import Regions

RULER, ITERATIONS = 20.0, 20
"""Smoothness and iterations of the authors' script; SLICO adapts the former to each superpixel."""


def slico(frames: NDArray[np.uint8], count: int) -> Regions:
    """Superpixels about `sqrt(H W / count)` wide in each of the frames `[T, H, W, 3]`.

    Their number is near `count`, and fewer where a frame is plain.

    Raises:
        UsageError: OpenCV with its contributed modules is not installed.
    """
    try:
        from cv2 import ximgproc
    except ImportError:
        raise UsageError(
            f"regions slico need OpenCV: {install_extra('slico')}, or take superpixels"
        ) from None
    labels = [_of_frame(ximgproc, frame, count) for frame in frames]
    first = np.cumsum([0, *(part.max() + 1 for part in labels[:-1])])
    return Regions.of(np.stack(labels) + first[:, None, None])


def _of_frame(ximgproc: Any, frame: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    height, width = frame.shape[:2]
    cutter = ximgproc.createSuperpixelSLIC(
        np.ascontiguousarray(frame[..., ::-1]),
        region_size=max(1, int((height * width / count) ** 0.5)),
        ruler=RULER,
    )
    cutter.iterate(ITERATIONS)
    labels: NDArray[np.int64] = cutter.getLabels().astype(np.int64)
    return labels
