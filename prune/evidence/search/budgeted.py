"""Greedy search at a quarter of the passes: every candidate at first, a shortlist later.

The first regions decide the insertion curve, and with few regions in sight what a candidate adds
changes most from step to step (alone it may say nothing at all). So all candidates are scored as
long as the budget lasts; later steps score only those that added most when they were last asked.
"""

from collections.abc import Callable

import numpy as np

from prune.evidence.objective import Objective, first_best

SHARE, SHORTLIST = 0.25, 3
"""Passes as a share of full greedy's, and candidates of a step once the budget is spent."""

FEW = 128
"""Sets that are scored in any case: up to 15 regions this is full greedy."""


def budgeted(
    objective: Objective,
    on_step: Callable[[int, float], None] = lambda placed, best: None,
    share: float = SHARE,
    shortlist: int = SHORTLIST,
    few: int = FEW,
) -> list[int]:
    """Order regions by full greedy's rule at a share of its cost.

    Args:
        objective: F.
        on_step: see `prune.evidence.search`.
        share: of the sets that full greedy scores.
        shortlist: candidates of a step, when not all are scored.
        few: sets that may be scored, whatever the share.
    """
    count = objective.num_regions
    budget = max(few, int(share * count * (count + 1) / 2)) - 1  # The empty set is one.
    chosen: list[int] = []
    rest = list(range(count))
    gain = np.zeros(count)
    value = best = float(objective.values(np.zeros((1, count), bool))[0])
    while rest:
        later = shortlist * (len(rest) - 1)
        if not chosen or len(rest) + later <= budget:
            asked = rest
        else:
            ranked = sorted(rest, key=lambda i: (-gain[i], i))
            asked = sorted(ranked[:shortlist])
        values = objective.with_each(chosen, asked)
        budget -= len(asked)
        gain[asked] = values - value
        value = float(values[first_best(values)])
        best = max(best, value)
        chosen.append(asked[first_best(values)])
        rest.remove(chosen[-1])
        on_step(len(chosen), best)
    return chosen
