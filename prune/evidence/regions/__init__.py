"""Partitions of a clip into regions, one file each; `PARTITIONS` names them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import UsageError
from prune.evidence.regions.frames import whole_frames
from prune.evidence.regions.grid import grid
from prune.evidence.regions.regions import Regions
from prune.evidence.regions.slico import slico
from prune.evidence.regions.superpixels import superpixels
from prune.evidence.regions.tubes import tubes

PARTITIONS: dict[str, Callable[[NDArray[np.uint8], int], Regions]] = {
    "frames": lambda frames, count: whole_frames(frames),
    "grid": grid,
    "slico": slico,
    "superpixels": superpixels,
    "tubes": tubes,
}
"""By name: functions from frames, uint8 `[T, H, W, 3]`, to about `count` regions per frame."""


def partition(name: str, frames: NDArray[Any], count: int) -> Regions:
    """Cut a clip with the partition called `name`; raises `UsageError` if there is none."""
    if name not in PARTITIONS:
        raise UsageError(f"regions {name!r}: expected {', '.join(PARTITIONS)}")
    return PARTITIONS[name](frames, count)


__all__ = [
    "PARTITIONS", "Regions", "grid", "partition", "slico", "superpixels", "tubes", "whole_frames",
]  # fmt: skip
