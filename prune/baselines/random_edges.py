"""The control of Map the Flow (2510.13251, table 3): the same number of edges, at random."""

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from prune.baselines.baseline import Baseline, CostTarget
from prune.evaluate.answers import EncodedBatch
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.edges import edge_histogram
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role
from prune.plan.cost import dense_cost
from prune.runtime.captured import Replay
from prune.runtime.enforce import MaskEnforcer


def random_edges(target: CostTarget, seed: int = 0) -> Baseline:
    """As many edges as the plan keeps, drawn one by one.

    Some edge into every state survives, so nothing dies and the cost is that of the edges alone.
    """
    dense = dense_cost(target.plan.num_layers, target.prompt, target.geometry)
    return Baseline(
        "random edges",
        "arXiv 2510.13251, table 3",
        f"seed {seed}",
        target.cost.edges,
        dense.flops - (dense.edges - target.cost.edges) * target.geometry.edge_flops,
        partial(random_states, reach=target.plan.reach, seed=seed),
    )


def random_masks(
    replay: Replay, samples: Sequence[Sample], reach: Reach, seed: int
) -> MaskEnforcer:
    """Masks that keep as many edges of every prompt as `reach` does, spread evenly over layers.

    Edges are removed where the paper removes them, among queries and keys from the first video
    token on, and from all others where that region is too small.

    Args:
        replay: a batch of prompts.
        samples: the same prompts; their ids seed the draw, so that it does not depend on the batch.
        reach: the plan whose budget is matched, `[L, G, R, R]`.
        seed: which draw.
    """
    segments = replay.segments
    num_layers, width = len(reach), segments.shape[1]
    dense = allowed_edges(
        segments.role, segments.frame, torch.from_numpy(dense_reach(1)[0]), width
    )[:, 0].numpy()
    masks = np.repeat(dense[None], num_layers, 0)
    for b, sample in enumerate(samples):
        kept = edge_histogram(segments.row(b)).kept(reach).mean(1).sum()
        removed = round(num_layers * dense[b].sum() - float(kept))
        digest = hashlib.sha256(f"{seed}/{sample.id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        video = np.flatnonzero(segments.role[b].numpy() == Role.VIDEO)
        first = video[0] if len(video) else 0
        region = dense[b].copy()
        region[:first] = region[:, :first] = False
        inside, outside = np.flatnonzero(region), np.flatnonzero(dense[b] & ~region)
        for layer, share in enumerate(np.diff(np.linspace(0, removed, num_layers + 1).astype(int))):
            flat = masks[layer, b].reshape(-1)
            flat[rng.permutation(inside)[:share]] = False
            flat[rng.permutation(outside)[: max(0, share - len(inside))]] = False
    choice = torch.arange(num_layers * len(samples)).reshape(num_layers, -1)
    return MaskEnforcer(torch.from_numpy(masks.reshape(-1, width, width)), choice)


def random_states(batch: EncodedBatch, reach: Reach, seed: int) -> torch.Tensor:
    """Final states `[B, count, d]` of a batch under `random_masks`."""
    masks = random_masks(batch.replay, batch.samples, reach, seed)
    return batch.replay.last_states(masks, batch.count)
