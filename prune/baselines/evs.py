"""EVS (arXiv 2510.14624): keep what differs from the same place a frame before."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.fewer_tokens import Kept, beside_cells, grid_of_frames, reducing


def evs(target: CostTarget, seed: int = 0) -> Baseline:
    """As many tokens as cost what the plan costs, but at least the first frame's."""
    frames = int(target.prompt.frame.max()) + 1
    return reducing("EVS", "arXiv 2510.14624", target, most_changed, least=1 / frames)


def most_changed(features: Tensor, frame: Tensor, keep: int) -> Kept:
    """The first frame, and the tokens least like the one at the same place a frame before.

    Args:
        features: `[V, d]`.
        frame: of each, int32 `[V]`, in order.
        keep: how many stay; the first frame stays in any case.
    """
    cells = grid_of_frames(frame)
    others = beside_cells(frame, cells)
    grid = features.float()[cells]
    change = 1 - cosine_similarity(grid[1:], grid[:-1], dim=-1)
    change = torch.cat([torch.full_like(change[:1], torch.inf), change]).flatten()
    count = max(cells.shape[1], keep - len(others))
    chosen = change.argsort(descending=True, stable=True)[:count].cpu()
    index = torch.cat([cells.flatten()[chosen], others]).sort().values
    return Kept(index, features[index])
