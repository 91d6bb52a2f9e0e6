"""Grids of video tokens: the frame of each and its cell in it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune.errors import BadInputError
from prune.families import family_of_processor
from prune.layout.segments import Role, Segments


@dataclass(frozen=True)
class Grid:
    """The video tokens of a prompt that represent a place in a frame.

    A family's newline and class tokens represent none; if a family drops cells that do not change,
    the others keep their places.

    Attributes:
        position: columns in the prompt, int64 `[N]`.
        frame: index of each one's frame (temporal unit), int64 `[N]`.
        cell: its place in the frame, row by row, int64 `[N]`.
        height, width: cells of a frame.
    """

    position: Tensor
    frame: Tensor
    cell: Tensor
    height: int
    width: int

    @property
    def num_frames(self) -> int:
        """Number of temporal units."""
        return int(self.frame.max()) + 1

    def spread(self, values: Tensor) -> Tensor:
        """Values `[..., N]` of the tokens in their cells, `[..., T, h, w]`; NaN in empty ones."""
        size = self.height * self.width
        out = values.new_full((*values.shape[:-1], self.num_frames * size), float("nan"))
        out[..., self.frame * size + self.cell] = values
        grid: Tensor = out.unflatten(-1, (self.num_frames, self.height, self.width))
        return grid


def grid_of(processor: Any, inputs: Any, segments: Segments) -> Grid:
    """The grid of a prompt with one video, or with images as its frames.

    Args:
        processor: the model's.
        inputs: what it returned for the prompt.
        segments: the prompt's layout, a batch of one.

    Raises:
        BadInputError: the prompt has no video, or its tokens are not one grid per frame.
    """
    family = family_of_processor(processor)
    position = (segments.role[0] == Role.VIDEO).nonzero()[:, 0]
    if "pixel_values_videos" in inputs:
        position = position[: len(position) - family.extra_tokens]
    if not len(position):
        raise BadInputError("the prompt has no video tokens to look at")
    frame = segments.frame[0, position].long()
    first = torch.searchsorted(frame, frame)  # each one's first token of the same frame
    place = torch.arange(len(frame)) - first
    patch = place >= family.class_tokens
    position, frame, cell = position[patch], frame[patch], place[patch] - family.class_tokens
    kept = inputs.get("video_compression_mask")
    if kept is not None:
        kept = kept.cpu().bool().reshape(int(frame.max()) + 1, -1)
        cell = kept.nonzero()[:, 1]
        size = kept.shape[1]
    else:
        size = int(cell.max()) + 1
    if kept is None and len(cell) != (int(frame.max()) + 1) * size:
        raise BadInputError("frames with different numbers of video tokens form no grids")
    height, width = _shape(inputs, size, int(frame.max()) + 1)
    return Grid(position, frame, cell, height, width)


def _shape(inputs: Any, size: int, units: int) -> tuple[int, int]:
    """Rows and columns of `size` cells, in the proportions of what the vision tower sees."""
    grid = inputs.get("video_grid_thw", inputs.get("image_grid_thw"))
    if grid is not None:
        if len(shapes := grid[:, 1:].unique(dim=0)) > 1:
            raise BadInputError(f"frames of {len(shapes)} shapes form no grid: make them alike")
        height, width = shapes[0].tolist()
    else:
        names = ("pixel_values_videos", "pixel_values_images", "pixel_values")
        pixels = next(inputs[name] for name in names if name in inputs)
        if (parts := math.prod(pixels.shape[:-3])) > units:
            raise BadInputError(
                f"the processor cuts {units} images into {parts} tiles, whose tokens form no grid"
            )
        height, width = pixels.shape[-2:]
    divisors = [rows for rows in range(1, size + 1) if size % rows == 0]
    stretch = {rows: abs(math.log(height / rows * (size / rows) / width)) for rows in divisors}
    rows = min(divisors, key=stretch.__getitem__)
    if stretch[rows] > math.log(2):
        raise BadInputError(f"{size} video tokens do not form a grid of a {height} x {width} frame")
    return rows, size // rows


def shown_frame(unit: int, num_units: int, num_frames: int) -> int:
    """The decoded frame that a temporal unit shows first, where a unit may hold several."""
    return min(unit * -(-num_frames // num_units), num_frames - 1)
