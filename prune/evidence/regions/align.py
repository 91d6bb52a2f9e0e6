"""Alignment of region borders with the model's token grid."""

import numpy as np

from prune.evidence.regions.regions import Regions


def align(regions: Regions, shape: tuple[int, int, int]) -> Regions:
    """Give every cell of the token grid to the region that covers most of it.

    Args:
        regions: of a clip of T frames.
        shape: `(U, h, w)`: temporal units, rows and columns of tokens. A unit spans equally many
            consecutive frames, the last one maybe fewer.

    Returns:
        Regions of the same clip; those without a cell are dropped.
    """
    time, height, width = regions.labels.shape
    units, rows, columns = shape
    per_unit = -(-time // units)
    labels = np.empty_like(regions.labels)
    for u in range(units):
        span = slice(u * per_unit, (u + 1) * per_unit)
        for r in range(rows):
            for c in range(columns):
                cell = (
                    span,
                    slice(r * height // rows, (r + 1) * height // rows),
                    slice(c * width // columns, (c + 1) * width // columns),
                )
                labels[cell] = np.bincount(regions.labels[cell].ravel()).argmax()
    return Regions.of(labels)
