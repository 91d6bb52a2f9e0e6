"""Boxes of known objects in a clip or an image, as a data set names them.

A box is `{"label", "box": [left, top, right, bottom]}`, in shares of the frame's width and height,
and holds in seconds `[start, end)` of the video. A thing that moves has several boxes of one label,
one after another.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prune.io.closed import ClosedModel

MAX_BOXES = 16384
"""Boxes that a line may hold, of all its objects together."""

_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class ObjectBox:
    """Where one object is, for a while.

    Attributes:
        label: the object's name.
        box: left, top, right and bottom, in shares of the frame's width and height.
        start, end: seconds of the video between which it is there; without them, from the first
            frame on and to the last.
    """

    label: str
    box: tuple[float, float, float, float]
    start: float | None = None
    end: float | None = None

    def holds_at(self, seconds: float) -> bool:
        """Whether the object is there at a time of the video."""
        return (self.start is None or self.start <= seconds) and (
            self.end is None or seconds < self.end
        )

    @property
    def line(self) -> dict[str, Any]:
        """The fields in a data set's line."""
        times = {"start": self.start, "end": self.end}
        return {
            "label": self.label,
            "box": list(self.box),
            **{name: value for name, value in times.items() if value is not None},
        }


class BoxLine(ClosedModel):
    """A box as a line of a data set holds it."""

    label: Annotated[str, Field(min_length=1, max_length=256)]
    box: Annotated[list[_Share], Field(min_length=4, max_length=4)]
    start: Annotated[float, Field(ge=0)] | None = None
    end: Annotated[float, Field(gt=0)] | None = None

    def parsed(self) -> ObjectBox:
        """The box.

        Raises:
            ValueError: it is empty, in space or time.
        """
        left, top, right, bottom = self.box
        if left >= right or top >= bottom:
            raise ValueError(
                f"boxes: {self.label!r}: {self.box} is empty: give left, top, right and bottom, "
                "left before right and top before bottom"
            )
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(
                f"boxes: {self.label!r}: start {self.start} is not before end {self.end}"
            )
        return ObjectBox(self.label, (left, top, right, bottom), self.start, self.end)


def frame_times(count: int, metadata: dict[str, Any]) -> list[float]:
    """Seconds of the video at which each of a clip's frames appears; 0 where there is no clock.

    Args:
        count: of the clip's frames or images.
        metadata: of the clip (`prune.inputs.encode.Clip`).
    """
    if not metadata:
        return [0.0] * count
    return [float(index / metadata["fps"]) for index in metadata["frames_indices"]]


def named_in(boxes: Sequence[ObjectBox], text: str) -> list[ObjectBox]:
    """The boxes of those objects all words of whose label are in a text."""
    words = set(_words(text))
    return [box for box in boxes if set(_words(box.label)) <= words]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def box_mask(
    boxes: Collection[ObjectBox], times: Sequence[float], height: int, width: int
) -> NDArray[np.bool_]:
    """The pixels that boxes cover in frames that appear at `times`: bool `[T, height, width]`.

    A pixel is covered if its centre is.
    """
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    mask = np.zeros((len(times), height, width), bool)
    for box in boxes:
        left, top, right, bottom = box.box
        inside = ((top <= y) & (y < bottom))[:, None] & ((left <= x) & (x < right))
        for frame, seconds in enumerate(times):
            if box.holds_at(seconds):
                mask[frame] |= inside
    return mask
