"""Insight, necessity and their sum, the objective of EAGLE (2509.22496, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune.evidence.scorer import Scorer

TIE = 1e-6
"""Values of F closer than this are equal: then the first region in order wins."""


@dataclass
class Objective:
    """F of sets of regions; a set is never run twice.

    F(S) = insight_weight * insight(S) + necessity_weight * necessity(V \\ S), where insight is the
    mean probability of the target tokens when S alone is seen, and necessity the mean of 1 - p when
    all but S is. (The paper sums over tokens; a mean orders the same and can be read as a
    probability.)

    Attributes:
        scorer: runs the model.
        positions: the target tokens in the reply.
        insight_weight, necessity_weight: lambda 1 and 2.
    """

    scorer: Scorer
    positions: Sequence[int]
    insight_weight: float = 1.0
    necessity_weight: float = 1.0
    _known: dict[bytes, NDArray[np.float64]] = field(default_factory=dict, init=False)

    @property
    def num_regions(self) -> int:
        """R."""
        return self.scorer.num_regions

    def tokens(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probability of every reply token for sets `[N, R]`: `[N, K]`."""
        names = [row.tobytes() for row in visible]
        fresh = {name: i for i, name in enumerate(names) if name not in self._known}
        if fresh:
            found = self.scorer.probabilities(visible[list(fresh.values())])
            self._known |= dict(zip(fresh, found, strict=True))
        return np.stack([self._known[name] for name in names])

    def target(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean probability of the target tokens for sets `[N, R]`: `[N]`."""
        mean: NDArray[np.float64] = self.tokens(visible)[:, list(self.positions)].mean(1)
        return mean

    def halves(self, sets: NDArray[np.bool_], which: NDArray[np.integer]) -> NDArray[np.float64]:
        """Weighted insight (0) or necessity (1) of sets `[N, R]`, as `which` says: `[N]`."""
        p = self.target(np.where(which[:, None], ~sets, sets))
        return np.where(which, self.necessity_weight * (1 - p), self.insight_weight * p)

    def values(self, sets: NDArray[np.bool_]) -> NDArray[np.float64]:
        """F of sets `[N, R]`: `[N]`."""
        which = np.repeat([0, 1], len(sets))
        insight, necessity = np.split(self.halves(np.concatenate([sets, sets]), which), 2)
        return insight + necessity

    def with_each(self, chosen: Sequence[int], candidates: Sequence[int]) -> NDArray[np.float64]:
        """F of `chosen` with each of the candidates added, `[len(candidates)]`."""
        return self.values(self.joined(chosen, candidates))

    def joined(self, chosen: Sequence[int], candidates: Sequence[int]) -> NDArray[np.bool_]:
        """`chosen` with each of the candidates added, `[len(candidates), R]`."""
        sets = np.zeros((len(candidates), self.num_regions), bool)
        sets[:, list(chosen)] = True
        sets[np.arange(len(candidates)), list(candidates)] = True
        return sets


def first_best(values: NDArray[np.float64]) -> int:
    """Index of the greatest value; of several equal ones (`TIE`) the first."""
    return int((values >= values.max() - TIE).argmax())
