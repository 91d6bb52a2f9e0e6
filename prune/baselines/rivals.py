"""Every baseline that a report compares a plan with."""

from prune.baselines.baseline import Baseline, CostTarget, Make
from prune.baselines.evs import evs
from prune.baselines.fastv import fastv
from prune.baselines.fewer_frames import fewer_frames
from prune.baselines.lower_resolution import lower_resolution
from prune.baselines.published import published
from prune.baselines.random_edges import random_edges
from prune.baselines.random_plan import random_plan
from prune.baselines.reencoded import Reader
from prune.baselines.subsample import subsample
from prune.baselines.tree_merging import tree_merging
from prune.baselines.vidcom2 import vidcom2
from prune.baselines.vtw import vtw

SINGLE: tuple[Make, ...] = (subsample, evs, vidcom2, tree_merging, fastv, vtw, published)

REREAD = (fewer_frames, lower_resolution)
"""They read the clips anew."""

SEEDS = 5
EDGE_SEEDS = 2
"""Most seeds of random edges: they are so far from any plan that two show it."""


def rivals(target: CostTarget, seeds: int, reader: Reader | None = None) -> list[list[Baseline]]:
    """The baselines at a plan's cost, in groups: the draws of one method, or one baseline.

    Args:
        target: what they have to match.
        seeds: how often random plans are drawn.
        reader: reads clips anew; without one, no baseline does.
    """
    groups = [
        [random_edges(target, seed) for seed in range(min(seeds, EDGE_SEEDS))],
        [random_plan(target, seed) for seed in range(seeds)],
    ]
    if reader is not None:
        groups += [[made] for make in REREAD if (made := make(target, reader)) is not None]
    return groups + [[make(target, 0)] for make in SINGLE]
