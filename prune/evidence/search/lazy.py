"""Lazy greedy search (Minoux 1978): the last gain of a region bounds its gain now.

The bound is exact where F is submodular, which probabilities of a network are only roughly: the
orderings are tested against full greedy by their curves. Once the chosen regions alone bring the
target back and nothing is left of it without them, the rest keeps the order it has.
"""

from collections.abc import Callable

import numpy as np

from prune.evidence.objective import TIE, Objective

TOGETHER = 4
"""Candidates that are scored anew in one batch."""

ENOUGH = 0.01
"""Probability within which the target counts as back, or gone."""


def lazy(
    objective: Objective,
    on_step: Callable[[int, float], None] = lambda placed, best: None,
    together: int = TOGETHER,
    enough: float = ENOUGH,
) -> list[int]:
    """Order regions by full greedy's rule, scoring again only candidates that may still win.

    Args:
        objective: F.
        on_step: see `prune.evidence.search`.
        together: candidates scored anew in one batch.
        enough: stop when the target's probability, with the chosen regions alone and without them,
            is this close to that of the whole clip and of none. 0 orders everything.
    """
    count = objective.num_regions
    ends = np.zeros((2, count), bool)
    ends[1] = True
    empty, full = objective.target(ends)
    chosen: list[int] = []
    value = float(objective.values(ends[:1])[0])
    bound = np.full(count, np.inf)
    best = value
    while len(chosen) < count:
        rest = [i for i in range(count) if i not in set(chosen)]
        fresh: set[int] = set()
        while True:
            order = sorted(rest, key=lambda i: (-bound[i], i))
            leader = max(fresh, key=lambda i: (bound[i], -i), default=None)
            stale = [
                i for i in order
                if i not in fresh and (leader is None or bound[i] > bound[leader] + TIE)
            ]  # fmt: skip
            if not stale:
                break
            # Before anything was scored every candidate may win.
            asked = stale if np.isinf(bound[stale[0]]) else stale[:together]
            bound[asked] = objective.with_each(chosen, asked) - value
            fresh |= set(asked)
        assert leader is not None
        value += float(bound[leader])
        chosen.append(leader)
        best = max(best, value)
        on_step(len(chosen), best)
        shown = ends[:1].copy()
        shown[0, chosen] = True
        alone, without = objective.target(np.concatenate([shown, ~shown]))
        if enough and alone >= full - enough and without <= empty + enough:
            chosen += sorted(set(rest) - {leader}, key=lambda i: (-bound[i], i))
    return chosen
