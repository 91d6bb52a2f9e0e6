"""How a layout splits into dense and causal attention calls: host arithmetic on runs only.

Query runs that stand in a row, read the same earlier keys, and either all read each other or none
do, form one group: a dense rectangle (group x its earlier keys) and, if they read each other, one
causal square. Groups of the same shape whose positions advance by a constant (the frames of a clip)
form one block, executed as one batched call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs, slices


@dataclass(frozen=True)
class Span:
    """`length` positions from `start`; member `i` of a block is shifted by `i * step`."""

    start: int
    length: int
    step: int = 0


@dataclass(frozen=True)
class Block:
    """`count` groups of query rows with one shape.

    Attributes:
        rows: the query positions.
        count: number of groups.
        causal: whether the rows of a group also attend to each other, causally.
        keys: earlier positions that every row of a group reads, in order.
    """

    rows: Span
    count: int
    causal: bool
    keys: tuple[Span, ...]

    @property
    def edges(self) -> int:
        """Number of (query, key) pairs, for one head."""
        rows = self.rows.length
        keys = sum(span.length for span in self.keys)
        return self.count * (rows * keys + self.causal * (rows * (rows + 1) // 2))

    @property
    def static(self) -> tuple[Span, ...]:
        """The keys that all groups share."""
        return tuple(span for span in self.keys if span.step == 0)

    @property
    def sliding(self) -> tuple[Span, ...]:
        """The keys that move with the group."""
        return tuple(span for span in self.keys if span.step)


@dataclass(frozen=True)
class Part:
    """The blocks of some batch rows and KV heads, which all have the same runs and reach."""

    batch: slice
    kv_heads: slice
    blocks: tuple[Block, ...]


@lru_cache(maxsize=512)
def split(layout: Layout, num_queries: int, reach: ReachTable) -> tuple[Part, ...]:
    """The blocks of every batch row and KV head; each query position is in exactly one.

    A part's `kv_heads` is all of them when the table has one group.
    """
    first = layout.shape[1] - num_queries
    parts = []
    for batch_rows, runs in layout.rows:
        for heads, table in reach.distinct():
            blocks = _blocks(runs, table, first)
            parts += [Part(b, h, blocks) for b in slices(batch_rows) for h in heads]
    return tuple(parts)


def is_plain_causal(parts: tuple[Part, ...], num_queries: int, num_keys: int) -> bool:
    """Whether every query reads all positions up to its own, with nothing removed."""
    every = num_queries * (num_keys - num_queries) + num_queries * (num_queries + 1) // 2
    return all(len(part.blocks) == 1 and part.blocks[0].edges == every for part in parts)


def density(parts: tuple[Part, ...], layout: Layout, num_queries: int) -> float:
    """Kept over causal edges of the real (not padding) queries and keys, over batch and heads."""
    kept = causal = 0
    first = layout.shape[1] - num_queries
    for part in parts:
        heads = 1 if part.kv_heads.start is None else part.kv_heads.stop - part.kv_heads.start
        copies = (part.batch.stop - part.batch.start) * heads
        kept += copies * sum(block.edges for block in part.blocks)
        real = layout.role[part.batch.start] >= 0
        causal += copies * int(np.cumsum(real)[first:][real[first:]].sum())
    return kept / causal if causal else 0.0


def _blocks(runs: Runs, reach: np.ndarray, first: int) -> tuple[Block, ...]:
    runs = runs.cut(first)
    allowed = runs.allowed(reach)
    by_shape: dict[tuple, list[Block]] = {}
    for i, j, causal in groups(allowed, int(np.searchsorted(runs.start, first))):
        start, end = int(runs.start[i]), int(runs.end[j - 1])
        # A single row reads itself like any other key.
        single = causal and end - start == 1
        causal = causal and not single
        keys = tuple(Span(a, b - a) for a, b in _intervals(runs, allowed[i, : i + single]))
        shape = (end - start, causal, *(span.length for span in keys))
        by_shape.setdefault(shape, []).append(Block(Span(start, end - start), 1, causal, keys))
    return tuple(block for same in by_shape.values() for block in _progressions(same))


def groups(allowed: np.ndarray, first_run: int) -> list[tuple[int, int, bool]]:
    """The groups of query runs, greedily from the left.

    Args:
        allowed: bool `[N, N]` of `Runs.allowed`.
        first_run: the first run that holds queries.

    Returns:
        `(i, j, causal)`: runs `i` to `j - 1` read the same runs before `i`, and each reads all of
        `i` to itself (causal) or none of them.
    """
    num_runs = len(allowed)
    index = np.arange(num_runs)
    # Three numbers a run decide membership; taking them at once keeps the loop off numpy.
    differs = np.full(num_runs, num_runs)
    changes = allowed[1:] != allowed[:-1]
    differs[1:] = np.where(changes.any(axis=1), changes.argmax(axis=1), num_runs)
    earlier = index[:, None] >= index[None, :]
    last_unread = np.where(earlier & ~allowed, index, -1).max(axis=1, initial=-1).tolist()
    last_read = np.where(earlier & allowed, index, -1).max(axis=1, initial=-1).tolist()
    first_change = differs.tolist()
    own = allowed.diagonal().tolist()

    found = []
    i = first_run
    while i < num_runs:
        last_exception = last_unread if own[i] else last_read
        j = i + 1
        while j < num_runs and first_change[j] >= i and last_exception[j] < i:
            j += 1
        found.append((i, j, own[i]))
        i = j
    return found


def _intervals(runs: Runs, chosen: np.ndarray) -> list[tuple[int, int]]:
    """The positions of the chosen runs (bool `[n]`, the first n) as maximal `(start, end)`."""
    padded = np.concatenate(([False], chosen, [False])).astype(np.int8)
    edges = np.flatnonzero(np.diff(padded))
    return [
        (int(runs.start[a]), int(runs.end[b - 1]))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _progressions(groups: list[Block]) -> Iterator[Block]:
    """Join single groups of one shape whose rows and keys all advance by constant steps."""
    i = 0
    while i < len(groups):
        steps = _steps(groups, i)
        count = 1
        while steps and i + count < len(groups) and _steps(groups, i + count - 1) == steps:
            count += 1
        head = groups[i]
        if count == 1:
            yield head
        else:
            assert steps is not None
            rows = Span(head.rows.start, head.rows.length, steps[0])
            keys = tuple(
                Span(span.start, span.length, step)
                for span, step in zip(head.keys, steps[1:], strict=True)
            )
            yield Block(rows, count, head.causal, keys)
        i += count


def _steps(groups: list[Block], i: int) -> tuple[int, ...] | None:
    if i + 1 >= len(groups):
        return None
    here, there = groups[i], groups[i + 1]
    steps = tuple(b.start - a.start for a, b in zip(here.keys, there.keys, strict=True))
    # A view can only slide forwards.
    return None if min(steps, default=0) < 0 else (there.rows.start - here.rows.start, *steps)
