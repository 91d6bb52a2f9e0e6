"""The partition of a clip into its frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evidence.regions.regions import Regions


def whole_frames(frames: NDArray[Any]) -> Regions:
    """One region for each of the frames `[T, H, W, 3]`."""
    index = np.arange(len(frames), dtype=np.int32)[:, None, None]
    return Regions(np.broadcast_to(index, frames.shape[:3]).copy())
