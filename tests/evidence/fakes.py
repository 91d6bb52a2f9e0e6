"""A scorer without a model, p a function of which regions are seen; and whole frames."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune.checkpoint.load import LoadedModel
from prune.evidence.forced import TeacherForcing
from prune.evidence.tokens import VideoTokens
from prune.inputs.encode import Clip


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


def tokens_of(model: LoadedModel, inputs: Any, forcing: TeacherForcing, clip: Clip) -> VideoTokens:
    """The video tokens of a prompt whose frames no processor crops."""
    height, width = clip[0].shape[1:3]
    seen = (0.0, 0.0, float(height), float(width))
    return VideoTokens(model.processor, inputs, forcing.replay.segments, seen)
