"""Cells of video tokens in the grid of their temporal unit."""

from math import isqrt, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.errors import RefusedError
from prune.evidence.regions import Regions
from prune.inputs.visible import Box
from prune.layout.segments import Role, Segments


def token_grid(segments: Segments, inputs: Any) -> tuple[int, int, int]:
    """Temporal units, rows and columns of the video tokens of one prompt, `(U, h, w)`.

    Tokens beyond the grid of a unit (a class token in front, a newline behind) are not counted.

    Raises:
        RefusedError: the tokens of a unit form no grid.
    """
    counts = np.bincount(_frames(segments))
    size = int(counts.min())
    _refuse_tiles(inputs, len(counts))
    for name in ("video_grid_thw", "image_grid_thw"):
        thw = inputs.get(name)
        if thw is not None:
            height, width = thw[0, 1:].tolist()
            merge = isqrt(height * width // size)
            shape = height // merge, width // merge
            # A processor may drop the tokens of what does not change.
            if shape[0] * shape[1] == size == counts.max():
                return len(counts), *shape
    for tokens in (size, size - 1):
        if tokens > 0 and isqrt(tokens) ** 2 == tokens and counts.max() <= size + 1:
            return len(counts), isqrt(tokens), isqrt(tokens)
    raise RefusedError(
        f"{sorted(set(counts.tolist()))} video tokens per frame form no grid: explain whole frames "
        "(--regions frames), or remove pixels instead of tokens (--removal black)"
    )


def _refuse_tiles(inputs: Any, units: int) -> None:
    """Refuse images that the processor cut into tiles: their tokens lie in no order of one grid."""
    for name in ("pixel_values", "pixel_values_images"):
        pixels = inputs.get(name)
        if pixels is not None and pixels.ndim >= 4 and prod(pixels.shape[:-3]) > units:
            raise RefusedError(
                f"the processor cuts {units} images into {prod(pixels.shape[:-3])} tiles, whose "
                "tokens form no grid: remove pixels instead of tokens (--removal black)"
            )


def token_cells(segments: Segments, inputs: Any) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    """The cell of every video token in the grid `(U, h, w)`, `[V]`, -1 of one without.

    Raises:
        RefusedError: the tokens of a unit form no grid.
    """
    unit = _frames(segments)
    counts = np.bincount(unit)
    units, rows, columns = token_grid(segments, inputs)
    place = np.concatenate([np.arange(n) for n in counts])
    # A class token stands in front of its frame's cells, a newline behind.
    place -= (counts == rows * columns + 1).all()
    inside = (place >= 0) & (place < rows * columns)
    return np.where(inside, unit * rows * columns + place, -1), (units, rows, columns)


def token_regions(
    regions: Regions, segments: Segments, inputs: Any, seen: Box
) -> NDArray[np.int64]:
    """The region that covers most of the cell of each video token, `[V]`.

    A token without a cell belongs to the region that covers most of its unit.

    Args:
        regions: of whole frames.
        segments, inputs: of the prompt.
        seen: the part of a frame that its tokens show.

    Raises:
        RefusedError: the tokens of a unit form no grid, and regions are smaller than units.
    """
    unit = _frames(segments)
    units = int(unit.max()) + 1
    labels = regions.labels[:, *_inside(seen)]
    per_unit = -(-len(labels) // units)
    spans = [labels[u * per_unit : (u + 1) * per_unit] for u in range(units)]
    most = np.array([np.bincount(span.ravel()).argmax() for span in spans])
    found = most[unit]
    if all(len(np.unique(span)) == 1 for span in spans):
        return found
    cells, (_, rows, columns) = token_cells(segments, inputs)
    height, width = labels.shape[1:]
    for token in np.flatnonzero(cells >= 0):
        u, cell = divmod(int(cells[token]), rows * columns)
        r, c = divmod(cell, columns)
        covered = spans[u][
            :,
            r * height // rows : max(r * height // rows + 1, (r + 1) * height // rows),
            c * width // columns : max(c * width // columns + 1, (c + 1) * width // columns),
        ]
        found[token] = np.bincount(covered.ravel()).argmax()
    return found


def token_map(
    values: NDArray[np.floating],
    segments: Segments,
    inputs: Any,
    shape: tuple[int, ...],
    seen: Box,
) -> NDArray[np.float64]:
    """Values of the video tokens `[V]`, each drawn in its token's cell, on `[T, H, W]` pixels.

    Tokens without a cell are not drawn, and nothing is where the model does not look (`seen`).

    Raises:
        RefusedError: the tokens of a unit form no grid.
    """
    cells, (units, rows, columns) = token_cells(segments, inputs)
    grid = np.zeros(units * rows * columns)
    grid[cells[cells >= 0]] = values[cells >= 0]
    rectangle = _inside(seen)
    frames, (height, width) = shape[0], (part.stop - part.start for part in rectangle)
    unit = np.arange(frames) // -(-frames // units)
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    found = np.zeros(shape)
    found[:, *rectangle] = grid.reshape(units, rows, columns)[unit][:, row][:, :, column]
    return found


def _inside(seen: Box) -> tuple[slice, slice]:
    """Rows and columns of the pixels in a box."""
    top, left, bottom, right = map(round, seen)
    return slice(top, bottom), slice(left, right)


def _frames(segments: Segments) -> NDArray[np.int64]:
    """Temporal unit of each video token of one prompt, `[V]`."""
    video: torch.Tensor = segments.role[0] == Role.VIDEO
    return segments.frame[0, video].numpy().astype(np.int64)
