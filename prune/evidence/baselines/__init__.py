"""Other attribution methods, one file each; `BASELINES` names them.

A baseline takes a `Case` and returns a map float `[T, H, W]`, greater where more matters. Regions
are then ordered by their mean, so that every method is scored on the same regions.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prune.evidence.baselines.gradcam import smooth_gradcam
from prune.evidence.baselines.igos import igos
from prune.evidence.baselines.noise import noise
from prune.evidence.baselines.rollout import rollout
from prune.evidence.baselines.tam import tam
from prune.evidence.case import Case
from prune.evidence.regions import Regions

BASELINES: dict[str, Callable[[Case], NDArray[np.float64]]] = {
    "random": noise,
    "rollout": rollout,
    "gradcam": smooth_gradcam,
    "tam": tam,
    "igos": igos,
}


def order_by_map(saliency: NDArray[np.float64], regions: Regions) -> list[int]:
    """Regions by the mean of a map `[T, H, W]`, the greatest first."""
    order: list[int] = np.argsort(-regions.means(saliency), kind="stable").tolist()
    return order


__all__ = ["BASELINES", "igos", "noise", "order_by_map", "rollout", "smooth_gradcam", "tam"]
