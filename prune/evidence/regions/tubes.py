"""Tubes: superpixels followed through the frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.measure import regionprops_table

from prune.evidence.regions.regions import Regions
from prune.evidence.regions.superpixels import frame_superpixels

MAX_COLOR = 20.0
"""Largest Lab distance of two superpixels that are the same object in two frames."""

MAX_MOVE = 0.2
"""Farthest it may move between two frames, as a share of the frame's longer side."""


def tubes(frames: NDArray[Any], count: int) -> Regions:
    """About `count` tubes through the frames `[T, H, W, 3]`, more where objects come and go.

    Each superpixel continues the tube of the superpixel in the frame before that is nearest in
    colour and place; where none is near in both, it starts a tube. Two may continue the same tube.
    """
    labels = np.zeros(frames.shape[:3], np.int64)
    before, tube_of, total = None, np.zeros(0, np.int64), 0
    for index, frame in enumerate(frames):
        cells = frame_superpixels(frame, count)
        now = _looks(cells, frame)
        found = np.full(len(now), -1)
        if before is not None:
            cost = _costs(now, before)
            nearest = cost.argmin(1)
            near = cost[np.arange(len(now)), nearest] < np.inf
            found[near] = tube_of[nearest[near]]
        fresh = found < 0
        found[fresh] = total + np.arange(fresh.sum())
        total += int(fresh.sum())
        labels[index] = found[cells]
        before, tube_of = now, found
    return Regions.of(labels)


def _looks(cells: NDArray[np.int64], frame: NDArray[Any]) -> NDArray[np.float64]:
    """Mean Lab colour, and centre as shares of the longer side, of each superpixel: `[n, 5]`."""
    wanted = ("intensity_mean", "centroid")
    table = regionprops_table(cells + 1, rgb2lab(frame), properties=wanted)
    color = np.stack([table[f"intensity_mean-{i}"] for i in range(3)], 1)
    centre = np.stack([table[f"centroid-{i}"] for i in range(2)], 1) / max(cells.shape)
    return np.concatenate([color, centre], 1)


def _costs(now: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unlike the superpixels of two frames are, `[n, m]`; infinite where too far apart."""
    gap = now[:, None] - before[None]
    color = np.linalg.norm(gap[..., :3], axis=-1) / MAX_COLOR
    move = np.linalg.norm(gap[..., 3:], axis=-1) / MAX_MOVE
    return np.where((color < 1) & (move < 1), color**2 + move**2, np.inf)
