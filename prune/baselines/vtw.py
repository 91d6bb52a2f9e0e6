"""VTW (arXiv 2405.05803): withdraw all video tokens after one layer."""

from prune.baselines.baseline import Baseline, CostTarget
from prune.evaluate.answers import under
from prune.layout.pathways import VIDEO
from prune.layout.reach import NONE, Reach, dense_reach, limit_edges
from prune.layout.segments import Role
from prune.plan.cost import cost_of


def vtw(target: CostTarget, seed: int = 0) -> Baseline:
    """Withdraw the video before the earliest layer that makes this cost no less than the plan."""
    layers = target.plan.num_layers
    for first in range(layers + 1):
        reach = withdrawn(layers, first)
        cost = cost_of(reach, target.prompt, target.geometry)
        if cost.flops >= target.cost.flops:
            break
    return Baseline(
        "VTW",
        "arXiv 2405.05803",
        f"no video token after layer {first}",
        cost.edges,
        cost.flops,
        under(reach),
    )


def withdrawn(num_layers: int, first: int) -> Reach:
    """The dense table without any edge from the video in layer `first` (0-based) and later."""
    reach = dense_reach(num_layers)
    limit_edges(reach, slice(first, None), tuple(r for r in Role), VIDEO, NONE)
    return reach
