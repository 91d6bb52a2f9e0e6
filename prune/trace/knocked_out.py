"""The final states of a prompt under all knockouts that a trace asks for."""

from dataclasses import replace

import torch
from torch import Tensor

from prune.trace.dense_pass import DensePass
from prune.trace.freeze import frozen_states, plain_frozen_states
from prune.trace.incremental import knockout_states
from prune.trace.knockout import Knockouts, plain_states


def knocked_out(dense: DensePass, knockouts: Knockouts) -> Tensor:
    """Final states of the last K tokens under every knockout.

    Args:
        dense: the prompt's recorded pass, with K = `dense.count`.
        knockouts: what to remove.

    Returns:
        `[P, W, K, d]`; `[P, W, H, K, d]` where KV heads are cut one at a time.
    """
    edges = replace(knockouts, pathways=[p for p in knockouts.pathways if not p.frozen])
    cut = iter(_without_edges(dense, edges) if edges.pathways else ())
    freeze = plain_frozen_states if knockouts.exact_reference else frozen_states
    return torch.stack(
        [freeze(dense, p.keys) if p.frozen else next(cut) for p in knockouts.pathways]
    )


def _without_edges(dense: DensePass, knockouts: Knockouts) -> Tensor:
    """Those of the knockouts that remove edges."""
    if knockouts.exact_reference:
        states = plain_states(dense.replay, knockouts, dense.count)
    else:
        windows = knockouts.windows()
        by_head = [knockout_states(dense, knockouts.pathways, windows, h) for h in knockouts.heads]
        states = torch.stack(by_head, 2)
    return states[:, :, 0] if list(knockouts.heads) == [None] else states
