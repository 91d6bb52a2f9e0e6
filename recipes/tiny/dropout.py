"""Pathway dropout: in each step some pathways are cut in some layers, the deeper the more often.

The linear rule of stochastic depth (arXiv 1603.09382, section 3), applied to attention pathways. A
model of two million parameters uses every edge it has; a large one has slack. This gives `tiny`
the slack, without which there is nothing to prune.
"""

import random

import torch
from batches import Batch
from model import FRAMES, TOKENS_PER_FRAME

from prune.kernels import allowed_edges
from prune.pathways import REMOVABLE, Reach, dense_reach, remove_pathway
from prune.segments import Role

FULL_FROM = 8
"""Layers from this one on are cut at the step's whole rate."""


def draw_reach(num_layers: int, rate: float, rng: random.Random) -> Reach:
    """A reach table that lacks each pathway in layer `l` with chance `rate * min(1, l / 8)`."""
    reach = dense_reach(num_layers)
    for layer in range(num_layers):
        chance = rate * min(1.0, (layer + 1) / FULL_FROM)
        for pathway in REMOVABLE:
            if rng.random() < chance:
                remove_pathway(reach, pathway, [layer])
    return reach


def masks_of(batch: Batch, reach: Reach) -> list[list[torch.Tensor]]:
    """For each layer the bool masks of the prefix `[1, 1, P, P]` and of each kind of slot.

    A slot's is `[B * count, 1, width, P + width]`.
    """
    size = len(batch.roles)
    prefix = batch.roles.shape[1] - sum(s.count * s.width for s in batch.slots)
    shared = batch.roles[:1, :prefix]
    frame = torch.full((1, prefix), -1, dtype=torch.int32)
    frame[shared == Role.VIDEO] = torch.arange(FRAMES * TOKENS_PER_FRAME, dtype=torch.int32) // (
        TOKENS_PER_FRAME
    )
    parts = [(shared, frame, prefix)]
    start = prefix
    for s in batch.slots:
        stop = start + s.count * s.width
        own = batch.roles[:, start:stop].reshape(size * s.count, s.width)
        role = torch.cat([shared.expand(len(own), -1), own], 1)
        parts.append((role, torch.nn.functional.pad(frame, (0, s.width), value=-1), s.width))
        start = stop
    tables = [torch.from_numpy(table) for table in reach]
    return [
        [allowed_edges(role, f.expand(len(role), -1), table, queries) for role, f, queries in parts]
        for table in tables
    ]
