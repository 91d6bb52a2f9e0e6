"""How little has to go until a wrong answer comes right (2509.22496, section 4: hallucinations).

Regions are ordered towards the right answer. Walking back from the whole clip, the regions that
speak against it go first; the area gone when the model's reply is first right is the sample's
correction.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.results.treatment import WITHIN


def minimal_correction(area: NDArray[np.float64], right: Sequence[bool]) -> float:
    """Smallest share of the clip to remove until the answer is right.

    Args:
        area: share shown when the first r regions are, `[R + 1]`, ascending.
        right: whether the model answers rightly then, `[R + 1]`.

    Returns:
        0 if the answer is right with the whole clip, 1 if it never is.
    """
    steps = np.flatnonzero(right)
    return float(1 - area[steps[-1]]) if len(steps) else 1.0


def amcr(corrections: Sequence[float]) -> float:
    """Average minimal correction region, over all samples; those never corrected count as 1."""
    return float(np.mean(corrections))


def csr(corrections: Sequence[float], within: float = WITHIN) -> float:
    """Correction success rate: share of all samples corrected by at most `within` of the clip.

    The published code divides by the samples that were corrected at all, and so leaves out its
    failures.
    """
    return float(np.mean([c <= within for c in corrections]))
