"""Regions of a clip: the video tokens that show known objects, and others to compare them with.

A token shows an object if its cell of the frame overlaps one of the object's boxes
(`prune.inputs.boxes`) in a frame that it encodes, be it by an edge. What the vision tower mixed in
from other cells is not considered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.errors import BadInputError
from prune.inputs.boxes import ObjectBox, frame_times
from prune.inputs.encode import Clip
from prune.inputs.sample import Sample
from prune.inputs.visible import Box, visible_box
from prune.layout.fine_role import CONTROL, NAMED, REGIONS, AnyRole, MarkedRole
from prune.layout.grid import Grid, grid_of
from prune.layout.segments import Segments


@dataclass(frozen=True)
class Shown:
    """A sample with boxes as its prompt shows it.

    Attributes:
        processor: the model's.
        sample: the question and its boxes.
        inputs: what the processor returned; of the pixels only their shape.
        times: seconds of the video at which each frame appears.
        seen: the part of a frame that the model sees: top, left, bottom and right, in shares of its
            height and width.
    """

    processor: Any
    sample: Sample
    inputs: dict[str, Any]
    times: Sequence[float]
    seen: Box

    @staticmethod
    def of(processor: Any, sample: Sample, clip: Clip, inputs: Any) -> "Shown | None":
        """The record of an encoded prompt, a batch of one; None without boxes."""
        if not sample.boxes:
            return None
        frames, about = clip
        height, width = frames.shape[1:3]
        top, left, bottom, right = visible_box(processor, height, width, sample.medium)
        shapes = {
            name: value.to("meta") if name.startswith("pixel_values") else value
            for name, value in inputs.items()
        }
        seen = top / height, left / width, bottom / height, right / width
        return Shown(processor, sample, shapes, frame_times(len(frames), about), seen)

    def boxes(self, mark: str) -> tuple[ObjectBox, ...]:
        """Those of a mark of `REGIONS`; raises `BadInputError` if there is none."""
        if not mark.startswith(NAMED):
            return self.sample.boxes
        if not self.sample.named_boxes:
            raise BadInputError(f"{mark}: question and answer name no object that has a box")
        return self.sample.named_boxes


def region(mark: str, shown: Shown, segments: Segments) -> Tensor:
    """The tokens of one prompt that a mark of `REGIONS` stands for: bool `[S]`.

    A control has as many tokens of each frame as its region, as far as there are others, drawn at
    random, the same for every run of the sample.

    Raises:
        BadInputError: the video tokens form no grid, no object is where the model looks, or none
            of a control is left.
    """
    grid = grid_of(shown.processor, shown.inputs, segments)
    inside = covered(shown.boxes(mark), shown, grid)[grid.frame.numpy(), grid.cell.numpy()]
    chosen = _others(inside, grid, shown.sample) if mark.endswith(CONTROL) else inside
    if not chosen.any():
        raise BadInputError(
            f"{mark}: the boxes overlap every cell of their frames"
            if inside.any()
            else f"{mark}: no box is in a part of a frame that the model sees"
        )
    found = torch.zeros(segments.shape[1], dtype=torch.bool)
    found[grid.position[torch.from_numpy(chosen)]] = True
    return found


def covered(boxes: Iterable[ObjectBox], shown: Shown, grid: Grid) -> NDArray[np.bool_]:
    """Which cells of each temporal unit boxes overlap, row by row: bool `[T, h * w]`."""
    top, left, bottom, right = shown.seen
    rows = np.linspace(top, bottom, grid.height + 1)
    columns = np.linspace(left, right, grid.width + 1)
    per_unit = -(-len(shown.times) // grid.num_frames)
    found = np.zeros((grid.num_frames, grid.height, grid.width), bool)
    for box in boxes:
        west, north, east, south = box.box
        down = (rows[:-1] < south) & (rows[1:] > north)
        across = (columns[:-1] < east) & (columns[1:] > west)
        for frame, seconds in enumerate(shown.times):
            if box.holds_at(seconds):
                found[frame // per_unit] |= down[:, None] & across
    return found.reshape(grid.num_frames, -1)


def _others(inside: NDArray[np.bool_], grid: Grid, sample: Sample) -> NDArray[np.bool_]:
    """As many tokens of each frame that are not `inside`, if there are."""
    digest = sha256(sample.id.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    frame, others = grid.frame.numpy(), np.zeros_like(inside)
    for unit in range(grid.num_frames):
        outside = np.flatnonzero((frame == unit) & ~inside)
        count = int(inside[frame == unit].sum())
        others[rng.permutation(outside)[:count]] = True
    return others


def check_regions(roles: Iterable[AnyRole], samples: Sequence[Sample], data: Path) -> None:
    """Raise `BadInputError` if roles are regions, and no sample has boxes."""
    marks = {role.mark for role in roles if isinstance(role, MarkedRole)} & set(REGIONS)
    if marks and not any(sample.boxes for sample in samples):
        raise BadInputError(
            f"{min(marks)}: no line of {data} has boxes, which say where objects are"
        )
