"""`Regions`: a partition of a clip's pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError


@dataclass(frozen=True)
class Regions:
    """Regions of a clip: every pixel of every frame is in exactly one.

    Attributes:
        labels: int32 `[T, H, W]`, the region of each pixel, 0 to R - 1 without gaps.
    """

    labels: NDArray[np.int32]

    def __post_init__(self) -> None:
        found = np.unique(self.labels)
        if self.labels.ndim != 3 or not np.array_equal(found, np.arange(len(found))):
            raise BadInputError(
                "regions: expected labels [T, H, W] of 0 to R - 1, each used at least once"
            )

    @staticmethod
    def of(labels: NDArray[np.integer]) -> "Regions":
        """From any integer labels `[T, H, W]`, renumbered in the order of their values."""
        _, dense = np.unique(labels, return_inverse=True)
        return Regions(dense.reshape(labels.shape).astype(np.int32))

    @property
    def count(self) -> int:
        """R."""
        return int(self.labels.max()) + 1

    @property
    def area(self) -> NDArray[np.float64]:
        """Share of the clip that each region covers, `[R]`; sums to 1."""
        return np.bincount(self.labels.ravel(), minlength=self.count) / self.labels.size

    def shown(self, visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Pixels of the regions `visible` `[R]`: bool `[T, H, W]`."""
        return visible[self.labels]

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """A map `[T, H, W]` of one value per region, `[R]`."""
        return values[self.labels]

    def means(self, saliency: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mean of a map `[T, H, W]` over each region, `[R]`."""
        total = np.bincount(self.labels.ravel(), saliency.ravel(), minlength=self.count)
        return total / np.bincount(self.labels.ravel(), minlength=self.count)
