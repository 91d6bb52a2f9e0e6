"""The smallest removal that corrects a wrong answer (2509.22496, section 4: hallucinations).

Regions are ordered by their support for the correct answer. Starting from the whole clip, those
that contradict it are removed first; the area removed when the reply is first correct is the
sample's correction.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.results.treatment import WITHIN


def minimal_correction(area: NDArray[np.float64], right: Sequence[bool]) -> float:
    """Smallest share of the clip to remove until the answer is correct.

    Args:
        area: share shown when the first r regions are, `[R + 1]`, ascending.
        right: whether the model then answers correctly, `[R + 1]`.

    Returns:
        0 if the answer is correct with the whole clip, 1 if it never is.
    """
    steps = np.flatnonzero(right)
    return float(1 - area[steps[-1]]) if len(steps) else 1.0


def amcr(corrections: Sequence[float]) -> float:
    """Average minimal correction region, over all samples; those never corrected count as 1."""
    return float(np.mean(corrections))


def csr(corrections: Sequence[float], within: float = WITHIN) -> float:
    """Correction success rate: share of all samples corrected by at most `within` of the clip.

    The published code divides by the number of corrected samples, and so ignores its failures.
    """
    return float(np.mean([c <= within for c in corrections]))
