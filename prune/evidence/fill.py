"""Fills that replace removed pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian

BLUR = 1 / 16
"""Standard deviation of the blur, as a share of a frame's longer side."""


def black(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Black, as published (2509.22496, section 3)."""
    return np.zeros_like(frames)


def mean(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """The mean colour of the clip."""
    color = frames.reshape(-1, 3).mean(0).round().astype(np.uint8)
    return np.broadcast_to(color, frames.shape)


def blur(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Each frame, blurred until only its broad colours are left."""
    sigma = BLUR * max(frames.shape[1:3])
    soft: NDArray[np.float64] = gaussian(frames, sigma=(0, sigma, sigma, 0), preserve_range=True)
    return soft.round().astype(np.uint8)


FILLS: dict[str, Callable[[NDArray[Any]], NDArray[np.uint8]]] = {
    "black": black,
    "mean": mean,
    "blur": blur,
}
"""By name: functions from frames, uint8 `[T, H, W, 3]`, to the pixels that replace removed ones."""
