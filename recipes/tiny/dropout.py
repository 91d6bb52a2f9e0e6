"""Pathway dropout: in every second step some attention pathways are cut in some layers.

Stochastic depth (arXiv 1603.09382) for attention pathways. A model of three million parameters uses
every edge it has; a large one has slack, and its last layers do without the video. This gives
`tiny` the slack, without which there is nothing to prune.
"""

import random

import torch
from batches import Batch
from model import FRAMES, TOKENS_PER_FRAME

from prune.kernels import allowed_edges
from prune.pathways import REMOVABLE, VIDEO, Reach, dense_reach, remove_pathway
from prune.segments import Role

VIDEO_SOURCES = [p for p in REMOVABLE if p.keys == VIDEO or p.queries == VIDEO]


def draw_reach(num_layers: int, rate: float, rng: random.Random) -> Reach:
    """A reach table without each pathway in each layer with chance `rate`.

    From a layer on that is drawn from the second half, nothing reads the video any more.
    """
    reach = dense_reach(num_layers)
    end = rng.randint(num_layers // 2, num_layers)
    for layer in range(num_layers):
        for pathway in REMOVABLE:
            if rng.random() < rate or (layer >= end and pathway in VIDEO_SOURCES):
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
    video = shared == Role.VIDEO
    at = torch.arange(int(video.sum()), dtype=torch.int32) // TOKENS_PER_FRAME
    # Extra tokens at the end of a video belong to its last frame.
    frame[video] = at.clamp(max=FRAMES - 1)
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
