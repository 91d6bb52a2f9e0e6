"""SLICO superpixels of every frame by scikit-image, in Lab; `slico` has the authors' own cut."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

from prune.evidence.regions.regions import Regions


def frame_superpixels(frame: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Superpixels of one frame `[H, W, 3]`: labels `[H, W]` from 0, about `count` of them.

    SLICO adapts its compactness to each superpixel, so it is not a parameter.
    """
    labels: NDArray[np.int64] = slic(
        frame, n_segments=count, slic_zero=True, start_label=0, channel_axis=-1
    )
    return labels


def superpixels(frames: NDArray[Any], count: int) -> Regions:
    """About `count` superpixels in each of the frames `[T, H, W, 3]`, none shared by two frames."""
    labels = [frame_superpixels(frame, count) for frame in frames]
    first = np.cumsum([0, *(part.max() + 1 for part in labels[:-1])])
    return Regions.of(np.stack(labels) + first[:, None, None])
