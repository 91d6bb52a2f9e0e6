"""The video tokens of a prompt, and where in its frames they look."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError, RefusedError
from prune.evidence.regions import Regions
from prune.inputs.visible import Box
from prune.layout.grid import Grid, grid_of
from prune.layout.segments import Role, Segments


@dataclass(frozen=True)
class VideoTokens:
    """The V video tokens of one prompt.

    Attributes:
        processor: the model's.
        inputs: what it returned for the prompt.
        segments: of the prompt, or of the prompt and its reply; a batch of one.
        seen: the part of a frame that its tokens show.
    """

    processor: Any
    inputs: Any
    segments: Segments
    seen: Box

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Temporal unit of each token, `[V]`."""
        video = self.segments.role[0] == Role.VIDEO
        return self.segments.frame[0, video].numpy().astype(np.int64)

    @cached_property
    def grid(self) -> Grid:
        """Their cells.

        Raises:
            RefusedError: the tokens of a unit form no grid.
        """
        try:
            return grid_of(self.processor, self.inputs, self.segments)
        except BadInputError as error:
            raise RefusedError(
                f"{error}: explain whole frames (--regions frames), or remove pixels instead of "
                "tokens (--removal black)"
            ) from None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Units, rows and columns of the grid, `(U, h, w)`."""
        return self.grid.num_frames, self.grid.height, self.grid.width

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """The cell of each token, counted through all units, `[V]`; -1 of one without."""
        _, rows, columns = self.shape
        place = np.full(self.segments.shape[1], -1)
        cell = self.grid.frame * rows * columns + self.grid.cell
        place[self.grid.position.numpy()] = cell.numpy()
        video: NDArray[np.int64] = place[self.segments.role[0].numpy() == Role.VIDEO]
        return video

    def regions(self, regions: Regions) -> NDArray[np.int64]:
        """The region that covers most of the cell of each token, `[V]`.

        A token without a cell belongs to the region that covers most of its unit.

        Args:
            regions: of whole frames.

        Raises:
            RefusedError: the tokens of a unit form no grid, and regions are smaller than units.
        """
        labels = regions.labels[:, *_inside(self.seen)]
        units = int(self.units.max()) + 1
        per_unit = -(-len(labels) // units)
        spans = [labels[u * per_unit : (u + 1) * per_unit] for u in range(units)]
        most = np.array([np.bincount(span.ravel()).argmax() for span in spans])
        found = most[self.units]
        if all(len(np.unique(span)) == 1 for span in spans):
            return found
        _, rows, columns = self.shape
        height, width = labels.shape[1:]
        for token in np.flatnonzero(self.cells >= 0):
            u, cell = divmod(int(self.cells[token]), rows * columns)
            r, c = divmod(cell, columns)
            covered = spans[u][
                :,
                r * height // rows : max(r * height // rows + 1, (r + 1) * height // rows),
                c * width // columns : max(c * width // columns + 1, (c + 1) * width // columns),
            ]
            found[token] = np.bincount(covered.ravel()).argmax()
        return found

    def map(self, values: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Values of the tokens `[V]`, each drawn in its token's cell, on `[T, H, W]` pixels.

        Tokens without a cell are not drawn, and nothing is where the model does not look (`seen`).

        Raises:
            RefusedError: the tokens of a unit form no grid.
        """
        units, rows, columns = self.shape
        drawn = self.cells >= 0
        grid = np.zeros(units * rows * columns)
        grid[self.cells[drawn]] = values[drawn]
        rectangle = _inside(self.seen)
        frames, (height, width) = shape[0], (part.stop - part.start for part in rectangle)
        unit = np.arange(frames) // -(-frames // units)
        row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
        found = np.zeros(shape)
        found[:, *rectangle] = grid.reshape(self.shape)[unit][:, row][:, :, column]
        return found


def _inside(seen: Box) -> tuple[slice, slice]:
    """Rows and columns of the pixels in a box."""
    top, left, bottom, right = map(round, seen)
    return slice(top, bottom), slice(left, right)
