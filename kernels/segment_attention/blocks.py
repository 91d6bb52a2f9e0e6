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

from prune.kernels.segment_attention.folding import Folded, fold
from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs, slices, stretches
from prune.kernels.segment_attention.structure import Structure, structure

Shape = tuple[int, bool, tuple[tuple[int, int, int], ...]]
"""Of a group: rows, whether causal, and of every key span length, pieces and their distance."""


@dataclass(frozen=True)
class Span:
    """`length` positions from `start`; member `i` of a block is shifted by `i * step`.

    Or, without a step, several such `pieces`, each `apart` positions after the one before: the
    text between frames.
    """

    start: int
    length: int
    step: int = 0
    pieces: int = 1
    apart: int = 0

    @property
    def tokens(self) -> int:
        """Number of positions."""
        return self.length * self.pieces


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
        keys = sum(span.tokens for span in self.keys)
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
    if not runs.role.size or first >= runs.end[-1]:
        return ()
    folded = fold(runs, reach, first)
    if folded.frames:
        found = structure(folded.runs, reach, first)
        blocks = _blocks_of(folded, found) if folded.holds(found) else ()
        if sum(block.rows.length * block.count for block in blocks) == runs.end[-1] - first:
            return blocks
    return _blocks_of(Folded(runs), structure(runs, reach, first))


def _blocks_of(folded: Folded, found: Structure) -> tuple[Block, ...]:
    """The blocks, of which some are missing if the frames left out are not like the others."""
    runs, i = folded.runs, found.first
    start, length = runs.start[i], runs.end[found.end - 1] - runs.start[i]
    # A single row reads itself like any other key.
    single = found.causal & (length == 1)
    earlier = np.arange(len(found.allowed)) < (i + single)[:, None]
    owner, begin, last = stretches(found.allowed[i] & earlier)
    bounds = folded.begins(begin, i[owner]), folded.ends(last, i[owner])
    keys: list[list[tuple[int, tuple[int, int, int]]]] = [[] for _ in range(len(i))]
    for group, at, *form in _in_pieces(owner, bounds[0], bounds[1] - bounds[0]).tolist():
        keys[group].append((at, (form[0], form[1], form[2])))

    by_shape: dict[Shape, list[tuple[int, ...]]] = {}
    columns = start.tolist(), length.tolist(), (found.causal & ~single).tolist(), keys
    for row, rows, is_causal, spans in zip(*columns, strict=True):
        shape = rows, is_causal, tuple(form for _, form in spans)
        by_shape.setdefault(shape, []).append((row, *(at for at, _ in spans)))
    return tuple(
        block for shape, at in by_shape.items() for block in _progressions(shape, at, folded)
    )


def _in_pieces(owner: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Spans of groups, with equal ones that are equally far apart as pieces of one.

    Returns:
        `[N, 5]`: group, start, length of a piece, pieces, and how far apart they are.
    """
    apart = np.diff(start)
    follows = (np.diff(owner) == 0) & (np.diff(length) == 0)
    # A third span joins the first two if it is as far from the second as that is from the first.
    joins = follows.copy()
    joins[1:] &= ~follows[:-1] | (apart[1:] == apart[:-1])
    first = np.flatnonzero(np.concatenate(([True], ~joins)))[: len(owner)]
    pieces = np.diff(first, append=len(owner))
    between = np.append(apart, 0)[first] * (pieces > 1)
    return np.stack((owner[first], start[first], length[first], pieces, between), axis=1)


def _slid(span: Span) -> tuple[Span, ...]:
    """Pieces that shift with the group are spans of their own."""
    if not span.step:
        return (span,)
    starts = (span.start + i * span.apart for i in range(span.pieces))
    return tuple(Span(start, span.length, span.step) for start in starts)


def _progressions(shape: Shape, at: list[tuple[int, ...]], folded: Folded) -> Iterator[Block]:
    """The groups of one shape as blocks: those that advance by constant steps are joined.

    Args:
        shape: rows, whether causal, and of every key span its length, pieces and their distance.
        at: of every group, where its rows and its key spans start.
        folded: whose frames left out are in the progression that they interrupt.
    """
    rows, causal, forms = shape
    moves = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in pairwise(at)]
    moves.append(())
    frames = [1] * len(moves)
    for k in range(1, len(at) - 1):
        step = moves[k - 1]
        if (
            step[0] == folded.tokens
            and at[k][0] < folded.start
            and moves[k] == tuple((folded.frames + 1) * x for x in step)
        ):
            moves[k], frames[k] = step, folded.frames + 1
    i = 0
    while i < len(at):
        move, count, last = moves[i], 1, i
        # A view can only slide forwards.
        if move and min(move) >= 0:
            while moves[last] == move:
                count += frames[last]
                last += 1
        first, *keys = [
            Span(start, length, step if count > 1 else 0, pieces, apart)
            for start, (length, pieces, apart), step in zip(
                at[i], ((rows, 1, 0), *forms), move or at[i], strict=True
            )
        ]
        yield Block(first, count, causal, tuple(span for key in keys for span in _slid(key)))
        i = last + 1
