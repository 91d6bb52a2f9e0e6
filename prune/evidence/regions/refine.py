"""Coarse-to-fine partitions: the regions that matter are cut further."""

from collections.abc import Sequence

import numpy as np

from prune.evidence.regions.regions import Regions


def refine(coarse: Regions, chosen: Sequence[int], fine: Regions) -> Regions:
    """Replace the regions `chosen` of `coarse` by what `fine` cuts them into.

    Args:
        coarse: for example whole frames.
        chosen: indices of the regions to cut.
        fine: for example the cells of a grid.
    """
    cut = np.isin(coarse.labels, list(chosen))
    return Regions.of(np.where(cut, coarse.count + coarse.labels * fine.count + fine.labels,
                               coarse.labels))  # fmt: skip
