"""A scorer without a model: p is a function of which regions are seen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prune.inputs.encode import Clip
from prune.inputs.visible import Box


@dataclass
class FakeScorer:
    """Attributes: num_regions, R; p, from bool `[R]` to the probabilities `[K]`."""

    num_regions: int
    p: Callable[[np.ndarray], list[float]]
    forwards: int = 0

    def probabilities(self, visible: np.ndarray) -> np.ndarray:
        self.forwards += len(visible)
        return np.array([self.p(row) for row in visible], float)


def saturating(count: int, seed: int = 0) -> FakeScorer:
    """One token whose p rises with the weights of what is seen, ever more slowly."""
    weight = np.random.default_rng(seed).exponential(1.0, count) ** 2
    return FakeScorer(
        count, lambda seen: [float(1 - np.exp(-3 * weight[seen].sum() / weight.sum()))]
    )


def whole_frame(clip: Clip) -> Box:
    """The visible part of frames that no processor crops."""
    height, width = clip[0].shape[1:3]
    return 0.0, 0.0, float(height), float(width)
