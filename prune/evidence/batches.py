"""Batches of variants of a prompt that need about the same number of tokens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

START = {"cpu": 4e7, "cuda": 3e11}
"""Cost of starting a batch in each layer, as FLOPs done in that time, by device type."""

MOST = 256
"""Variants of one batch."""


def start_cost(text_model: Any) -> int:
    """Cost of starting a batch, in tokens that the model could run in that time."""
    device = next(text_model.parameters()).device.type
    weights: float = sum(p.numel() for p in text_model.layers.parameters()) / len(text_model.layers)
    return max(1, round(START.get(device, START["cuda"]) / (2 * weights)))


def next_batch(
    tails: NDArray[np.integer], fronts: NDArray[np.integer], start: int, most_tokens: int
) -> NDArray[np.intp]:
    """The variants to run next: the shortest, while padding them is cheaper than another batch.

    Args:
        tails: tokens of each variant that have to be run, `[N]`.
        fronts: tokens of each that are known already, `[N]`.
        start: fixed cost of a batch, in tokens (`start_cost`).
        most_tokens: limit of a batch, prefixes included; a single variant may exceed it.

    Returns:
        Indices of the variants, at least one.
    """
    order = np.argsort(tails, kind="stable")[:MOST]
    longest = tails[order]
    number = np.arange(1, len(order) + 1)
    filling = number * longest - longest.cumsum()
    tokens = number * (longest + np.maximum.accumulate(fronts[order]))
    fits = (filling <= start) & (tokens <= most_tokens)
    return order[: max(1, int(np.argmin(np.append(fits, False))))]
