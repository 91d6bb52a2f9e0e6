"""Decomposition of a layout into dense and causal attention calls, computed on the host.

Consecutive query runs that read the same earlier keys, and either all read each other or none
do, form one group: a dense rectangle (group x its earlier keys) and, if they read each other, one
causal square. Groups of the same shape whose positions advance by a constant (the frames of a clip)
form one block, executed as one batched call.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

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
        """The keys that shift with the group."""
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
    """Share of causal edges kept, over batch and heads; padding does not count."""
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
    found = groups(allowed, int(np.searchsorted(runs.start, first)))
    if not found:
        return ()
    i, j, causal = (np.array(column) for column in zip(*found, strict=True))
    start, length = runs.start[i], runs.end[j - 1] - runs.start[i]
    # A single row reads itself like any other key.
    single = causal & (length == 1)
    earlier = np.arange(len(allowed)) < (i + single)[:, None]
    owner, bounds = runs.spans(allowed[i] & earlier)
    keys: list[list[list[int]]] = [[] for _ in found]
    for group, span in zip(owner.tolist(), bounds.tolist(), strict=True):
        keys[group].append(span)

    by_shape: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    columns = start.tolist(), length.tolist(), (causal & ~single).tolist(), keys
    for row, rows, is_causal, spans in zip(*columns, strict=True):
        shape = (rows, is_causal, *(end - begin for begin, end in spans))
        by_shape.setdefault(shape, []).append((row, *(begin for begin, _ in spans)))
    return tuple(block for shape, at in by_shape.items() for block in _progressions(shape, at))


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
    # Three numbers per run decide membership; computing them up front keeps the loop off numpy.
    changes = allowed[1:] != allowed[:-1]
    differs = np.where(changes.any(axis=1), changes.argmax(axis=1), num_runs)
    first_change = [num_runs, *differs.tolist()]
    reads_itself = allowed.diagonal()
    exceptions = (allowed != reads_itself[:, None]) & np.tri(num_runs, dtype=bool)
    last = num_runs - 1 - exceptions[:, ::-1].argmax(axis=1)
    last_exception = np.where(exceptions.any(axis=1), last, -1).tolist()
    own = reads_itself.tolist()

    found = []
    i = first_run
    while i < num_runs:
        j = i + 1
        while j < num_runs and first_change[j] >= i and own[j] == own[i] and last_exception[j] < i:
            j += 1
        found.append((i, j, own[i]))
        i = j
    return found


def _progressions(shape: tuple[int, ...], at: list[tuple[int, ...]]) -> Iterator[Block]:
    """The groups of one shape as blocks: those that advance by constant steps are joined.

    Args:
        shape: rows, whether causal, and the length of every key span.
        at: of every group, where its rows and its key spans start.
    """
    rows, causal, *lengths = shape
    steps = [tuple(b - a for a, b in pairwise(column)) for column in zip(*at, strict=True)]
    moves = [*zip(*steps, strict=True), None]
    i = 0
    while i < len(at):
        move, count = moves[i], 1
        # A view can only slide forwards.
        if move is not None and min(move) >= 0:
            while moves[i + count - 1] == move:
                count += 1
        spans = [
            Span(start, length, step if count > 1 else 0)
            for start, length, step in zip(at[i], (rows, *lengths), move or at[i], strict=True)
        ]
        yield Block(spans[0], count, bool(causal), tuple(spans[1:]))
        i += count
