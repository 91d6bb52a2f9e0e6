"""Agreement of two explanations of one answer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOP = 0.2


def top_iou(
    one: Sequence[int], other: Sequence[int], area: NDArray[np.float64], top: float = TOP
) -> float:
    """Intersection over union of the regions that come first in two orderings.

    Args:
        one, other: orderings of the same R regions.
        area: share of the clip that each region covers, `[R]`.
        top: from each ordering the first regions are taken until they cover this share.
    """
    a, b = first_regions(one, area, top), first_regions(other, area, top)
    return float(area[list(a & b)].sum() / area[list(a | b)].sum())


def first_regions(order: Sequence[int], area: NDArray[np.float64], top: float = TOP) -> set[int]:
    """The first regions of an ordering, until they cover the share `top` of the clip."""
    covered = area[list(order)].cumsum()
    return set(order[: int(np.searchsorted(covered, top - 1e-9)) + 1])
