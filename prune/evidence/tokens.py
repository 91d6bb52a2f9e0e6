"""Cells of video tokens in the grid of their temporal unit."""

from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.errors import RefusedError
from prune.evidence.regions import Regions
from prune.layout.segments import Role, Segments


def token_grid(segments: Segments, inputs: Any) -> tuple[int, int, int]:
    """Temporal units, rows and columns of the video tokens of one prompt, `(U, h, w)`.

    Tokens beyond the grid of a unit (a class token in front, a newline behind) are not counted.

    Raises:
        RefusedError: the tokens of a unit form no grid.
    """
    counts = np.bincount(_frames(segments))
    size = int(counts.min())
    thw = inputs.get("video_grid_thw")
    if thw is not None:
        height, width = thw[0, 1:].tolist()
        merge = isqrt(height * width // size)
        shape = height // merge, width // merge
        if shape[0] * shape[1] == size:
            return len(counts), *shape
    for tokens in (size, size - 1):
        if tokens > 0 and isqrt(tokens) ** 2 == tokens and counts.max() <= size + 1:
            return len(counts), isqrt(tokens), isqrt(tokens)
    raise RefusedError(
        f"{sorted(set(counts.tolist()))} video tokens per frame form no grid: explain whole frames "
        "(--regions frames), or remove pixels instead of tokens (--removal black)"
    )


def token_regions(regions: Regions, segments: Segments, inputs: Any) -> NDArray[np.int64]:
    """The region that covers most of the cell of each video token, `[V]`.

    A token without a cell belongs to the region that covers most of its unit.

    Raises:
        RefusedError: the tokens of a unit form no grid, and regions are smaller than units.
    """
    unit = _frames(segments)
    units = int(unit.max()) + 1
    per_unit = -(-len(regions.labels) // units)
    spans = [regions.labels[u * per_unit : (u + 1) * per_unit] for u in range(units)]
    most = np.array([np.bincount(span.ravel()).argmax() for span in spans])
    if all(len(np.unique(span)) == 1 for span in spans):
        return most[unit]
    _, rows, columns = token_grid(segments, inputs)
    height, width = regions.labels.shape[1:]
    place = np.concatenate([np.arange(n) for n in np.bincount(unit)])
    # A class token stands in front of its frame's cells, a newline behind.
    place -= (np.bincount(unit) == rows * columns + 1).all()
    found = most[unit]
    for token, (u, cell) in enumerate(zip(unit, place, strict=True)):
        if 0 <= cell < rows * columns:
            r, c = divmod(int(cell), columns)
            labels = spans[u][
                :,
                r * height // rows : max(r * height // rows + 1, (r + 1) * height // rows),
                c * width // columns : max(c * width // columns + 1, (c + 1) * width // columns),
            ]
            found[token] = np.bincount(labels.ravel()).argmax()
    return found


def token_map(
    values: NDArray[np.floating], segments: Segments, inputs: Any, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Values of the video tokens `[V]`, each drawn in its token's cell, on `[T, H, W]` pixels.

    Tokens without a cell are not drawn.

    Raises:
        RefusedError: the tokens of a unit form no grid.
    """
    units, rows, columns = token_grid(segments, inputs)
    per_unit = len(values) // units
    spare = per_unit - rows * columns
    cells = values.reshape(units, per_unit)[:, spare : spare + rows * columns]
    frames, height, width = shape
    unit = np.arange(frames) // -(-frames // units)
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    grid = cells.reshape(units, rows, columns).astype(np.float64)
    return grid[unit][:, row][:, :, column]


def _frames(segments: Segments) -> NDArray[np.int64]:
    """Temporal unit of each video token of one prompt, `[V]`."""
    video: torch.Tensor = segments.role[0] == Role.VIDEO
    return segments.frame[0, video].numpy().astype(np.int64)
