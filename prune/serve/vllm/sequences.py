"""A prompt's attention as ordinary sequences: rows in a line, behind the keys that they read.

What a plan leaves of a layer are groups of rows that read the same earlier tokens and, causally,
each other or not: a frame with the text before it, the text behind the video, or the whole prompt
where nothing is removed. Kernels for batches of unequal sequences run all of them in one call, once
the keys of each are next to each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prune.kernels import Layout, ReachTable
from prune.kernels.segment_attention.blocks import Block, Span, split

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Groups of rows, `[N]`, and what they read. Rows that read nothing are in none.

    Attributes:
        rows: int64, the rows of all groups, one group after another.
        keys: int64, the keys that they read, likewise; their own come last in each.
        rows_of: int64 `[N]`, number of rows of each.
        keys_of: int64 `[N]`, number of keys of each.
        causal: bool `[N]`, whether the rows of a group read each other up to themselves; they are
            its last keys then.
    """

    rows: Ints
    keys: Ints
    rows_of: Ints
    keys_of: Ints
    causal: NDArray[np.bool_]


@lru_cache(maxsize=512)
def sequences_of(layout: Layout, num_queries: int, reach: ReachTable) -> Sequences | None:
    """The sequences of one prompt; None if KV heads read different keys.

    Args:
        layout: of its keys, `[1, Sk]`.
        num_queries: number of its rows, which are the last keys.
        reach: `[G, R, R]`.
    """
    parts = split(layout, num_queries, reach)
    if len(parts) > 1:
        return None
    first = layout.shape[1] - num_queries
    return join([_of(block, first) for part in parts for block in part.blocks])


def _of(block: Block, first: int) -> Sequences:
    """The sequences of groups of one shape."""
    rows = _positions(block.rows, block.count)
    keys = [_positions(span, block.count) for span in block.keys]
    if block.causal:
        keys.append(rows)
    if not keys:
        rows = rows[:0]
    read = np.concatenate(keys, axis=1) if keys else rows
    count = len(rows)
    return Sequences(
        rows.ravel() - first,
        read.ravel(),
        np.full(count, rows.shape[1]),
        np.full(count, read.shape[1]),
        np.full(count, block.causal),
    )


def _positions(span: Span, count: int) -> Ints:
    """The positions of a span in each of `count` groups, `[count, tokens]`."""
    own = (span.apart * np.arange(span.pieces)[:, None] + np.arange(span.length)).ravel()
    positions: Ints = span.start + span.step * np.arange(count)[:, None] + own
    return positions


def join(found: Sequence[Sequences]) -> Sequences:
    """All sequences of some lists, whose rows and keys count in the same way."""
    if not found:
        none = np.zeros(0, np.int64)
        return Sequences(none, none, none, none, none.astype(bool))
    columns = ("rows", "keys", "rows_of", "keys_of", "causal")
    return Sequences(*(np.concatenate([getattr(one, name) for one in found]) for name in columns))
