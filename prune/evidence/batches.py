"""Which variants of a prompt run together: those that begin alike share what they begin with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

START = {"cpu": 4e7, "cuda": 3e11}
"""What starting a batch costs in each layer, as FLOPs done in that time, by device type."""

MOST = 256
"""Variants of one batch."""


def start_cost(text_model: Any) -> int:
    """What starting a batch costs, in tokens that the model could run in that time."""
    device = next(text_model.parameters()).device.type
    weights = sum(p.numel() for p in text_model.layers.parameters()) / len(text_model.layers)
    return max(1, round(START.get(device, START["cuda"]) / (2 * weights)))


def batches(
    look: NDArray[np.integer], text: int, start: int, most_tokens: int
) -> list[NDArray[np.intp]]:
    """Split variants into batches so that the fewest tokens are run.

    A batch costs its start, and for every variant the tokens of its longest one behind those that
    all of the batch begin with.

    Args:
        look: `[N, V]`, what each variant shows of each video token, in order; 0 is nothing.
        text: tokens behind the video.
        start: what a batch costs before it runs, in tokens (`start_cost`).
        most_tokens: of a batch, unless it is a single variant.

    Returns:
        Indices of the variants of each batch, such that one batch begins much like the one before.
    """
    count = len(look)
    order = np.array(sorted(range(count), key=lambda i: look[i].tobytes()))
    rows = look[order]
    lengths = (rows > 0).sum(1) + text
    # Tokens that each variant has in common with the one before, from the front.
    differs = rows[1:] != rows[:-1]
    alike = np.where(differs.any(1), differs.argmax(1), look.shape[1])
    shown = np.concatenate([np.zeros((count, 1), int), (rows > 0).cumsum(1)], 1)
    cost = np.full(count + 1, np.inf)
    cost[0] = 0
    cut = np.zeros(count + 1, int)
    for first in range(count):
        common, longest = look.shape[1], 0
        for stop in range(first + 1, min(count, first + MOST) + 1):
            if stop - first > 1:
                common = min(common, int(alike[stop - 2]))
            longest = max(longest, int(lengths[stop - 1]))
            tokens = (stop - first) * (longest - int(shown[first, common]))
            if tokens > most_tokens and stop - first > 1:
                break
            if cost[first] + start + tokens < cost[stop]:
                cost[stop], cut[stop] = cost[first] + start + tokens, first
    found, stop = [], count
    while stop:
        found.append(order[cut[stop] : stop])
        stop = int(cut[stop])
    return found[::-1]
