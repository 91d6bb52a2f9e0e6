"""Merging over time, as the trees of FlashVID (TSTM, arXiv 2602.08024).

Of the paper's two steps this is the second alone: its first selects tokens by the vision tower's
attention, which not every family has. Links are taken by rank instead of over a threshold, so that
a given number of tokens is left.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.fewer_tokens import Kept, beside_cells, grid_of_frames, reducing


def tree_merging(target: CostTarget, seed: int = 0) -> Baseline:
    """As many tokens as cost what the plan costs, but at least as many as a frame has."""
    frames = int(target.prompt.frame.max()) + 1
    return reducing(
        "tree merging",
        "arXiv 2602.08024, its merging alone",
        target,
        merge_trees,
        least=1 / frames,
    )


def merge_trees(features: Tensor, frame: Tensor, keep: int) -> Kept:
    """Tokens are linked to the most similar one of the frame before; a tree becomes its mean.

    Args:
        features: `[V, d]`.
        frame: of each, int32 `[V]`, in order.
        keep: how many stay; as many as a frame has in any case.
    """
    cells = grid_of_frames(frame)
    others = beside_cells(frame, cells)
    num_frames, per_frame = cells.shape
    whole = features.float()[cells.flatten()]
    grid = normalize(whole.unflatten(0, cells.shape), dim=-1)
    alike, best = (grid[1:] @ grid[:-1].transpose(1, 2)).max(-1)
    links = cells.numel() - max(per_frame, keep - len(others))
    linked = torch.zeros(alike.numel(), dtype=torch.bool, device=alike.device)
    linked[alike.flatten().argsort(descending=True, stable=True)[: max(0, links)]] = True
    root = torch.arange(cells.numel(), device=alike.device).view(cells.shape)
    for t in range(1, num_frames):
        before = root[t - 1][best[t - 1]]
        root[t] = torch.where(linked.view(alike.shape)[t - 1], before, root[t])
    roots, tree = root.flatten().unique(return_inverse=True)
    sums = whole.new_zeros(len(roots), whole.shape[1]).index_add_(0, tree, whole)
    means = sums / tree.bincount(minlength=len(roots))[:, None]
    places = torch.cat([cells.flatten()[roots.cpu()], others])
    order = places.argsort()
    merged = torch.cat([means.to(features.dtype), features[others]])
    return Kept(places[order], merged[order.to(merged.device)])
