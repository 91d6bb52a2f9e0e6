"""Scores of an ordering of regions: curves, attribution and modality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.evidence.objective import Objective


@dataclass(frozen=True)
class Curves:
    """Probability of each reply token as regions are shown, or removed, in order.

    Attributes:
        area: share of the clip that the first r regions cover, `[R + 1]`, from 0 to 1.
        insertion: with the first r regions alone, `[R + 1, K]`.
        deletion: without them, `[R + 1, K]`.
    """

    area: NDArray[np.float64]
    insertion: NDArray[np.float64]
    deletion: NDArray[np.float64]


def curves(objective: Objective, order: Sequence[int], region_area: NDArray[np.float64]) -> Curves:
    """Run an ordering from both sides; sets that a search has already scored are free."""
    count = len(order)
    sets = np.zeros((count + 1, count), bool)
    for rank, region in enumerate(order):
        sets[rank + 1 :, region] = True
    insertion, deletion = np.split(objective.tokens(np.concatenate([sets, ~sets])), 2)
    area = np.concatenate([[0.0], region_area[list(order)].cumsum()])
    return Curves(area / area[-1], insertion, deletion)


def attribution(
    found: Curves, order: Sequence[int], positions: Sequence[int],
    insight_weight: float = 1.0, necessity_weight: float = 1.0,
) -> NDArray[np.float64]:  # fmt: skip
    """How much each region matters, `[R]` in [0, 1] (2509.22496, section 3, attribution map).

    In order, each region's value is that of the one before minus the change of F it caused; the
    values are then scaled to [0, 1].
    """
    chosen = list(positions)
    insight, rest = found.insertion[:, chosen].mean(1), found.deletion[:, chosen].mean(1)
    value = insight_weight * insight + necessity_weight * (1 - rest)
    level = -np.abs(np.diff(value)).cumsum()
    span = level.max() - level.min()
    scores = np.empty(len(order))
    scores[list(order)] = (level - level.min()) / span if span else 1.0
    return scores


def modality(found: Curves) -> dict[str, list[float]]:
    """Evidence against language prior for each reply token (2509.22496, section 3).

    High: the token depends on the video. Low: it follows from the text alone.

    Returns:
        `paper`: the sum over ranks of p - min p along the insertion order, without the empty clip;
        `code`: the area under p over the area shown, less its minimum, with the empty clip.
    """
    seen = found.insertion[1:]
    area = np.trapezoid(found.insertion, found.area, axis=0) - found.insertion.min(0)
    return {"paper": (seen - seen.min(0)).sum(0).tolist(), "code": area.tolist()}
