"""VidCom2 (arXiv 2505.14454): keep what is unlike the rest of its frame and video."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.fewer_tokens import Kept, beside_cells, grid_of_frames, reducing

BANDWIDTHS = tuple(2.0**k for k in range(-3, 2))
CHANNELS = 1 / 2
"""Share of the channels that are compared, those of least variance; as released."""
TEMPERATURE = 0.01


def vidcom2(target: CostTarget, seed: int = 0) -> Baseline:
    """As many tokens as cost what the plan costs, but at least one of each frame."""
    frames = int(target.prompt.frame.max()) + 1
    least = frames / max(1, target.num_video)
    return reducing("VidCom2", "arXiv 2505.14454", target, most_distinct, least)


def most_distinct(features: Tensor, frame: Tensor, keep: int) -> Kept:
    """The tokens least like the mean of their frame and of the video; more of unlike frames.

    Args:
        features: `[V, d]`.
        frame: of each, int32 `[V]`, in order.
        keep: how many stay; one of each frame stays in any case.
    """
    cells = grid_of_frames(frame)
    others = beside_cells(frame, cells)
    num_frames, per_frame = cells.shape
    count = min(max(num_frames, keep - len(others)), cells.numel())
    whole = features.float()[cells.flatten()]
    channels = whole.var(0, unbiased=False).topk(
        max(1, int(CHANNELS * whole.shape[1])), largest=False
    )
    grid = normalize(whole[:, channels.indices].unflatten(0, cells.shape), dim=-1)
    to_video = _alike(grid, grid.mean((0, 1), keepdim=True))
    alike = to_video + _alike(grid, grid.mean(1, keepdim=True))
    unlike = -to_video.mean(1)
    weight = torch.softmax((unlike - unlike.max()) / TEMPERATURE, 0)
    share = (count / cells.numel() * (1 + weight - weight.mean())).clamp(max=1)
    own = (share * per_frame).round().long().clamp(1, per_frame)
    rank = alike.argsort(dim=1, stable=True).argsort(dim=1)
    chosen = (rank < own[:, None]).flatten()
    # Rounding leaves a few too many or too few: the most alike go, or the least alike come.
    surplus = int(chosen.sum()) - count
    if surplus > 0:
        chosen[alike.flatten().where(chosen, -torch.inf).topk(surplus).indices] = False
    elif surplus < 0:
        left = alike.flatten().where(~chosen, torch.inf)
        chosen[left.topk(-surplus, largest=False).indices] = True
    index = torch.cat([cells.flatten()[chosen.cpu()], others]).sort().values
    return Kept(index, features[index])


def _alike(grid: Tensor, centre: Tensor) -> Tensor:
    """Similarity `[T, n]` of tokens `[T, n, d]` to a centre: Gaussians of several bandwidths."""
    distance = (grid - centre).square().sum(-1)
    return torch.stack([torch.exp(-distance / (2 * width)) for width in BANDWIDTHS]).sum(0)
