"""Pointing: whether a map highlights the object asked about, at the right time."""

import numpy as np
from numpy.typing import NDArray


def points_at_mask(saliency: NDArray[np.floating], mask: NDArray[np.bool_]) -> bool:
    """Point Game (2509.22496, section 4): whether a maximum of the map lies on the object.

    Args:
        saliency: `[T, H, W]`; of several equal maxima, one on the object is enough, as published.
        mask: bool `[T, H, W]`, the object's pixels.
    """
    return bool(mask.any() and saliency[mask].max() == saliency.max())


def points_at_box(saliency: NDArray[np.floating], mask: NDArray[np.bool_]) -> bool:
    """The same with the object's bounding box in each frame."""
    return points_at_mask(saliency, boxes(mask))


def boxes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The bounding box of a mask in each frame that it is in, filled: bool `[T, H, W]`."""

    def between(line: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """From the first True to the last along the last axis."""
        ahead = np.logical_or.accumulate(line, -1)
        behind = np.logical_or.accumulate(line[..., ::-1], -1)[..., ::-1]
        return ahead & behind

    return between(np.any(mask, 2))[:, :, None] & between(np.any(mask, 1))[:, None, :]


def top_frame_in_span(saliency: NDArray[np.floating], span: tuple[int, int]) -> bool:
    """Temporal localisation: whether the frame with the greatest mean lies in `[start, stop)`."""
    return span[0] <= int(saliency.mean((1, 2)).argmax()) < span[1]
