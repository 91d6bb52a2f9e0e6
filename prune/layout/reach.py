"""Reach tables, `reach[layer, kv_group, query role, key role]`.

An entry is the largest frame distance over which the edge exists: `NONE`, 0 (same frame), w (up to
w frames back) or `ALL`; or `~w`, the same without the own frame, so `OTHER_FRAMES` is all but that.
Causality always holds on top. A table may also say which states a layer does not update
(`prune.layout.freezing`).
"""

import numpy as np
from numpy.typing import NDArray

from prune.kernels import ALL as ALL
from prune.kernels import OTHER_FRAMES as OTHER_FRAMES
from prune.layout.fine_role import AnyRole
from prune.layout.role import NUM_ROLES, Role

NONE = -1
SAME_FRAME = 0

Reach = NDArray[np.int32]
"""int32 `[L, G, R, R]`, or `[L, G, R + 1, R + 1]` (`prune.layout.freezing`)."""


def dense_reach(num_layers: int, groups: int = 1) -> Reach:
    """The table that keeps every edge."""
    return np.full((num_layers, groups, NUM_ROLES, NUM_ROLES), ALL, np.int32)


def narrowed(reach: Reach, limit: Reach | int) -> Reach:
    """The edges that exist under both reaches, element by element."""
    other = np.asarray(limit, np.int32)
    # Of a number below 0 all bits are turned, so that `~w` becomes w.
    farthest = np.minimum(reach ^ (reach >> 31), other ^ (other >> 31))
    both: Reach = np.where((reach < 0) | (other < 0), ~farthest, farthest)
    return both


def limit_edges(
    reach: Reach,
    layers: slice | list[int],
    queries: tuple[AnyRole, ...],
    keys: tuple[AnyRole, ...],
    limit: int,
) -> None:
    """Narrow `reach` in place to `limit` for the given layers, query and key roles."""
    groups = np.arange(reach.shape[1])
    block = np.ix_(np.arange(len(reach))[layers], groups, np.array(queries), np.array(keys))
    reach[block] = narrowed(reach[block], limit)
    inherit_rows(reach)


def inherit_rows(reach: Reach) -> None:
    """Fill in the roles that no plan names, in place.

    `answer` reads what `last` reads, and generated tokens see each other. `history` reads and is
    read as `question`, which it was in its turn. `image` reads what `question` reads, and every
    query may read it: pictures are never pruned, nor frozen.
    """
    reach[..., Role.HISTORY, :] = reach[..., Role.QUESTION, :]
    reach[..., :, Role.HISTORY] = reach[..., :, Role.QUESTION]
    reach[..., Role.HISTORY, Role.HISTORY] = reach[..., Role.QUESTION, Role.QUESTION]
    reach[..., Role.IMAGE, :] = reach[..., Role.QUESTION, :]
    reach[..., :, Role.IMAGE] = ALL
    reach[..., Role.IMAGE, NUM_ROLES:] = ALL
    reach[..., Role.ANSWER, :] = reach[..., Role.LAST, :]
    reach[..., Role.ANSWER, Role.ANSWER] = ALL
