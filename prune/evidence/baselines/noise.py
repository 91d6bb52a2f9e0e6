"""Random maps: the baseline that any method has to beat."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from prune.evidence.case import Case


def noise(case: Case, seed: int = 0) -> NDArray[np.float64]:
    """A map `[T, H, W]` of one random number per token cell, seeded by the sample."""
    digest = hashlib.sha256(f"{seed}/{case.sample.id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return case.map_of(rng.random(len(case.forcing.video)))
