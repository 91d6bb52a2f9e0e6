"""Equal cells of every frame (2509.22496's video code cuts each frame in 5 x 5)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evidence.regions.regions import Regions


def grid(frames: NDArray[Any], count: int) -> Regions:
    """Cells of each of the frames `[T, H, W, 3]`: the square grid of about `count` cells per frame.

    Numbered by frame, then row, then column.
    """
    time, height, width = frames.shape[:3]
    side = max(1, round(count**0.5))
    row = np.arange(height) * side // height
    column = np.arange(width) * side // width
    cell = row[:, None] * side + column[None]
    return Regions.of(np.arange(time)[:, None, None] * side**2 + cell)
