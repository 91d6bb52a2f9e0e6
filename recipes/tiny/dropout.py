"""Pathway dropout: in most steps some attention pathways are cut in some layers.

Stochastic depth (arXiv 1603.09382) for attention pathways. A model of three million parameters uses
every edge it has; a large one has slack, without which there is nothing to prune. What is cut
follows the flow that Map the Flow (2510.13251) finds in large models.
"""

import random

import torch
from batches import Batch
from model import FRAMES, TOKENS_PER_FRAME

from prune.kernels import allowed_edges
from prune.pathways import (
    LAST,
    NONE,
    OPTIONS,
    QUESTION_SEALED,
    REMOVABLE,
    SAME_FRAME,
    VIDEO,
    Reach,
    dense_reach,
    limit_edges,
    remove_pathway,
)
from prune.segments import Role

TEXT = (*QUESTION_SEALED, *OPTIONS, *LAST)
READERS = (*VIDEO, *TEXT)


def draw_reach(num_layers: int, rate: float, rng: random.Random) -> Reach:
    """A reach table with ranges of layers for every stage, and without single pathways in them.

    Frames are compared in some range of layers, over some distance; the video is read in another,
    the question until some layer after it and the options until one after that. Within the ranges
    each pathway goes in each layer with chance `rate`.
    """
    third = num_layers // 3
    video = rng.randint(third, num_layers - third + 1)
    question = rng.randint(video, num_layers - 2)
    options = rng.randint(question, num_layers - 1)
    before = slice(rng.randint(0, third // 2))
    after = slice(rng.randint(third - 1, num_layers // 2), None)
    reach = dense_reach(num_layers)
    for keys, end in ((VIDEO, video), (QUESTION_SEALED, question), (OPTIONS, options)):
        limit_edges(reach, slice(end, None), READERS, keys, NONE)
    for outside in (before, after):
        limit_edges(reach, outside, VIDEO, VIDEO, SAME_FRAME)
    limit_edges(reach, slice(None), VIDEO, VIDEO, rng.randint(2, FRAMES - 1))
    limit_edges(reach, slice(rng.randint(0, third - 1)), TEXT, VIDEO, NONE)
    limit_edges(reach, slice(rng.randint(0, video)), LAST, (*QUESTION_SEALED, *OPTIONS), NONE)
    for layer in range(num_layers):
        for pathway in REMOVABLE:
            if rng.random() < rate:
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
