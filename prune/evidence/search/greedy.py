"""Full greedy search (2509.22496, algorithm 1), with every remaining region as a candidate."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from prune.evidence.objective import TIE, Objective, first_best


def greedy(
    objective: Objective, on_step: Callable[[int, float], None] = lambda placed, best: None
) -> list[int]:
    """Order regions by adding the one that makes F greatest, the candidates of a step in batches.

    A candidate's insight, or its necessity, bounds its F, for neither is more than its weight.
    Those that cannot be the best by the one are not asked for the other: of the `R (R + 1)` passes
    of `greedy_one_at_a_time` as many are left as the clip needs, for the same ordering.
    """
    chosen: list[int] = []
    rest = list(range(objective.num_regions))
    # Of each region when last scored: insight, necessity.
    last = np.zeros((2, objective.num_regions))
    best = -float("inf")
    while rest:
        values = _values(objective, chosen, rest, last)
        index = first_best(values)
        best = max(best, float(values[index]))
        chosen.append(rest.pop(index))
        on_step(len(chosen), best)
    return chosen


def _values(
    objective: Objective, chosen: Sequence[int], rest: Sequence[int], last: NDArray[np.float64]
) -> NDArray[np.float64]:
    """F of `chosen` joined by each of `rest`, `[len(rest)]`; -inf where it is not the greatest.

    Args:
        objective: F.
        chosen: regions placed so far.
        rest: the candidates.
        last: of each region when last asked, insight and necessity, `[2, R]`; brought up to date.
    """
    regions = np.array(rest)
    sets = objective.joined(chosen, rest)
    weights = np.array([[objective.insight_weight], [objective.necessity_weight]])

    def ask(halves: NDArray[np.bool_]) -> None:
        which, index = np.nonzero(halves)
        if len(index):
            last[which, regions[index]] = objective.halves(sets[index], which)

    before = last[:, regions]
    # Those that one half alone would have ruled out last time are scored for that half.
    doubtful = (before + weights[::-1]).min(0) < before.sum(0).max()
    asked = np.ones(before.shape, bool)
    asked[(weights - before).argmin(0)[doubtful], doubtful] = False
    ask(asked)
    bound = np.where(asked, last[:, regions], weights).sum(0)
    missing = ~asked & (bound >= bound[asked.all(0)].max() - TIE)
    ask(missing)
    return np.where((asked | missing).all(0), last[:, regions].sum(0), -np.inf)


def greedy_one_at_a_time(objective: Objective) -> list[int]:
    """The same ordering, scoring one candidate at a time as the published code does."""
    chosen: list[int] = []
    rest = list(range(objective.num_regions))
    while rest:
        values = [objective.with_each(chosen, [candidate])[0] for candidate in rest]
        chosen.append(rest.pop(first_best(np.array(values))))
    return chosen
