"""Forecasts: what removing candidates from a plan is expected to lose, to first order.

A forecast costs the same however many candidates and layers there are, so a search asks for one
where it would otherwise run every candidate alone. It orders candidates and sizes blocks of them;
what is removed is still decided by runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.layout.reach import Reach
from prune.plan.budget import Unit
from prune.plan.moves import Candidate


@dataclass(frozen=True)
class Forecast:
    """What removing candidates from a plan does to each sample, to first order.

    Attributes:
        margin: log-odds of what each sample should answer, under the plan, float64 `[N]`.
        change: of the margin by the removal of each candidate, float64 `[C, N]`.
        passes: what it cost, as the prompts of so many passes over all calibration samples.
    """

    margin: NDArray[np.float64]
    change: NDArray[np.float64]
    passes: float

    def moved(self, chosen: Sequence[int], unit: Unit) -> float:
        """How much the samples move if candidates are removed together, gains counted as losses.

        What helps some samples as much as it harms others is not spare.
        """
        return self._mean(chosen, unit, abs)

    def lost(self, chosen: Sequence[int], unit: Unit) -> float:
        """What the samples lose on average if candidates are removed together."""
        return self._mean(chosen, unit, lambda fall: fall)

    def _mean(
        self,
        chosen: Sequence[int],
        unit: Unit,
        size: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> float:
        change = self.change[list(chosen)].sum(0)
        before, after = _sigmoid(self.margin), _sigmoid(self.margin + change)
        if unit == "points":
            return float(100 * size(before - after).mean())
        right = before * np.log(before / after)
        wrong = (1 - before) * np.log((1 - before) / (1 - after))
        return float((right + wrong).mean())


Foresee = Callable[[Reach, Sequence[Candidate]], Forecast]
"""Screens candidates around a reach table; the candidates of a forecast are in the order given."""


def _sigmoid(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    # Never 0 or 1, whose logarithms a divergence takes.
    return 1 / (1 + np.exp(-np.clip(margin, -30, 30)))
