"""Structure-matched random plans: the plan's own cuts, in randomly drawn layers."""

import numpy as np

from prune.baselines.baseline import Baseline, CostTarget
from prune.evaluate.answers import under
from prune.layout.edges import edge_histogram
from prune.layout.pathways import LAST, OPTIONS, QUESTION_SEALED, VIDEO
from prune.layout.reach import Reach, inherit_rows
from prune.layout.segments import Role
from prune.plan.cost import Cost, cost_of
from prune.plan.liveness import State, order_of, states

DRAWS = 200
"""Random plans that are drawn; the one whose FLOPs are nearest the plan's is taken."""

_BLOCKS = [
    (queries, keys)
    for queries in (VIDEO, QUESTION_SEALED, OPTIONS, LAST)
    for keys in ((Role.SYSTEM,), VIDEO, QUESTION_SEALED, OPTIONS, LAST)
]


def random_plan(target: CostTarget, seed: int = 0) -> Baseline:
    """As many edges of every kind, and states with equal lifetimes, but in other layers.

    What is random is only what the search claims to know: in which layers the edges of a kind
    (queries and keys of the same roles) are needed. Their number is the plan's; they are drawn from
    the layers in which the plan still needs their keys, so that what is dead there stays dead.
    """
    found, cost = random_reach(target, seed)
    return Baseline(
        "random layers",
        "the plan's cuts in layers drawn at random",
        f"seed {seed}",
        cost.edges,
        cost.flops,
        under(found),
    )


def random_reach(target: CostTarget, seed: int = 0) -> tuple[Reach, Cost]:
    """The reach table of a `random_plan`, and what it costs on the target's prompt."""
    reach = target.plan.reach
    rng = np.random.default_rng(seed)
    alive = states(reach, order=order_of(target.prompt)) != State.DEAD
    found = [_shuffled(reach, alive, rng) for _ in range(DRAWS)]
    histogram = edge_histogram(target.prompt)
    costs = [cost_of(table, target.prompt, target.geometry, histogram=histogram) for table in found]
    best = int(np.argmin([abs(cost.flops - target.cost.flops) for cost in costs]))
    return found[best], costs[best]


def _shuffled(reach: Reach, alive: np.ndarray, rng: np.random.Generator) -> Reach:
    """`reach` with the layers of every block permuted among those whose keys are needed."""
    table = reach.copy()
    for queries, keys in _BLOCKS:
        layers = np.flatnonzero(alive[:, list(keys)].any(1))
        block = (slice(None), np.array(queries)[:, None], np.array(keys))
        for layer, source in zip(layers, rng.permutation(layers), strict=True):
            table[layer][block] = reach[source][block]
    inherit_rows(table)
    return table
