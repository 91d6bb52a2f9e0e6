"""Greedy search from both ends that scores all candidates at doubling intervals.

With few regions visible the gain of a candidate changes most from turn to turn (alone it may have
none), and the first regions decide the insertion curve. So all candidates are scored in turns 0, 1,
2, 4, 8 and so on, and in between only those with the largest gains when last scored. Regions
for the back are chosen as in 2509.22496's efficient version, whose candidates for the front are
too stale where regions are small.
"""

from collections.abc import Callable

import numpy as np

from prune.evidence.objective import Objective, first_best
from prune.evidence.search.efficient import PENDING, least_missed

SHORTLIST = 3
"""Candidates for the front in a turn that does not score all."""


def doubling(
    objective: Objective,
    on_step: Callable[[int, float], None] = lambda placed, best: None,
    shortlist: int = SHORTLIST,
    pending: int = PENDING,
) -> list[int]:
    """Order regions, each turn one at the front and one at the back.

    Takes 41% of the `R (R + 1)` passes of one candidate at a time for 32 regions, 23% for 72 and
    10% for 200.

    Args:
        objective: F.
        on_step: see `prune.evidence.search`.
        shortlist: candidates for the front in a turn that does not score all.
        pending: candidates for the back.
    """
    count = objective.num_regions
    ranked = list(range(count))
    front: list[int] = []
    back: list[int] = []
    gain = np.zeros(count)
    value = best = float(objective.values(np.zeros((1, count), bool))[0])
    turn = 0
    while ranked:
        every = turn & (turn - 1) == 0  # 0, and the powers of two
        asked = ranked if every else ranked[:shortlist]
        # Of equal values the first region wins, as in full greedy.
        asked = sorted(asked)
        values = objective.with_each(front, asked)
        gain[asked] = values - value
        chosen = first_best(values)
        value = float(values[chosen])
        best = max(best, value)
        front.append(asked[chosen])
        ranked = sorted(set(ranked) - {front[-1]}, key=lambda i: (-gain[i], i))
        if len(ranked) > 1:
            back.append(least_missed(objective, ranked, back, pending, turn == 0))
        turn += 1
        on_step(len(front) + len(back), best)
    return front + back[::-1]
