"""The efficient search of 2509.22496, which places regions from both ends."""

from collections.abc import Callable

import numpy as np

from prune.evidence.objective import Objective, first_best

SCOPE, PENDING, UPDATE = 8, 4, 10
"""The settings of the authors' tutorials (their class defaults are 10, 8 and 5)."""


def efficient(
    objective: Objective,
    on_step: Callable[[int, float], None] = lambda placed, best: None,
    scope: int = SCOPE,
    pending: int = PENDING,
    update: int = UPDATE,
) -> list[int]:
    """Order regions by choosing the best at the front and the least missed at the back in turn.

    Args:
        objective: F.
        on_step: see `prune.evidence.search`.
        scope: how many of the candidates that were best when last all were scored are scored again.
        pending: how many of the worst are candidates for the back, while there are more.
        update: after how many turns all candidates are scored and sorted anew.
    """
    ranked = list(range(objective.num_regions))
    front: list[int] = []
    back: list[int] = []
    best, turn = -float("inf"), 0
    while len(ranked) > 1:
        if turn % update == 0:
            values = objective.with_each(front, ranked)
            ranked = [ranked[i] for i in np.argsort(-values, kind="stable")]
            value, index = float(values.max()), 0
        else:
            values = objective.with_each(front, ranked[:scope])
            index = first_best(values)
            value = float(values[index])
        front.append(ranked.pop(index))
        best = max(best, value)
        # The last ones are left to the front, which scores them all.
        if len(ranked) > (1 if turn == 0 else pending):
            back.append(least_missed(objective, ranked, back, pending, turn == 0))
        turn += 1
        on_step(len(front) + len(back), best)
    return front + ranked + back[::-1]


def least_missed(
    objective: Objective, ranked: list[int], back: list[int], pending: int, first: bool
) -> int:
    """Take from `ranked` the region without which F of all that is not placed at the back is best.

    Args:
        objective: F.
        ranked: regions that are not placed, the least important last; one is removed.
        back: regions placed at the back.
        pending: how many of the last are candidates.
        first: in the first turn the ranking is fresh, and its last region is taken as it is.
    """
    if first:
        return ranked.pop()
    tail = ranked[-pending:]
    sets = np.ones((len(tail), objective.num_regions), bool)
    sets[:, back] = False
    sets[np.arange(len(tail)), tail] = False
    return ranked.pop(len(ranked) - len(tail) + first_best(objective.values(sets)))
