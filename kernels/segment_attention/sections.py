"""Sections of query rows that one tile may hold any part of, found on the host from runs of tokens.

Each row of a *section* reads one unbroken stretch of keys up to itself, which begins where that of
the row before it began or later, and before the stretch the same keys as the other rows. The frames
of a frame-local or windowed clip are one section, so that tiles need not end where frames do: no
row of a tile is left empty, whatever a frame's size. Neighbouring sections that are too short to
fill a tile become one *mixed* section, whose mask is looked up in the reach table.
"""

from dataclasses import dataclass

import numpy as np

from prune.kernels.segment_attention.folding import Folded, fold
from prune.kernels.segment_attention.layout import Runs
from prune.kernels.segment_attention.structure import Structure, structure


@dataclass(frozen=True)
class Sections:
    """The sections of one sequence and reach table, in order; each query is in exactly one.

    Attributes:
        start, end: int64 `[N]`, token positions.
        mixed: bool `[N]`.
        reads_itself: bool `[N]`, whether its rows read each other, causally; False if mixed.
        shared: the spans before their stretches that all its rows read, of `Runs.spans`.
        looked_up: the spans that some rows of a mixed section read.
        begin: int64 `[Sq]`, where the stretch of every query starts.
    """

    start: np.ndarray
    end: np.ndarray
    mixed: np.ndarray
    reads_itself: np.ndarray
    shared: tuple[np.ndarray, np.ndarray]
    looked_up: tuple[np.ndarray, np.ndarray]
    begin: np.ndarray


_NOTHING = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)


def sections(runs: Runs, reach: np.ndarray, first: int, block_q: int) -> Sections:
    """Find the sections.

    Args:
        runs: of the whole sequence, cut at `first`.
        reach: integers `[R, R]`.
        first: position of the first query.
        block_q: rows of a tile; sections that fill less than half of it are put together.
    """
    folded = fold(runs, reach, first)
    if folded.frames:
        found = structure(folded.runs, reach, first)
        made = _sections(folded, found, block_q, first) if folded.holds(found) else None
        if made is not None:
            return made
    made = _sections(Folded(runs), structure(runs, reach, first), block_q, first)
    assert made is not None
    return made


def _sections(folded: Folded, found: Structure, block_q: int, first: int) -> Sections | None:
    """The sections; None if the frames left out are not inside one."""
    runs, i, j = folded.runs, found.first, found.end
    start, end = runs.start[i], runs.end[j - 1]
    packed = _pack(found.starts, start.tolist(), end.tolist(), block_q)
    head, mixed = (np.array(column) for column in zip(*packed, strict=True))
    filled = False
    if folded.frames and runs.start[folded.at] > first:
        bounds = np.searchsorted(i, (folded.at, folded.at + folded.period)).tolist()
        # A group that holds all frames begins before.
        filled = bounds[0] < bounds[1]
        section = np.searchsorted(head, bounds[0], "right") - 1
        if filled and (mixed[section] or any(bounds[0] <= g < bounds[1] for g in found.starts)):
            return None
    last = np.append(head[1:], len(i)) - 1
    reads_itself = found.causal[head] & ~mixed
    index = np.arange(len(runs.start))
    lower = found.allowed & np.tri(len(index), dtype=bool)
    before = np.where(reads_itself, found.begin[head], i[head])
    shared = lower[i[head]] & (index < before[:, None])
    looked_up = _NOTHING
    if mixed.any():
        # The sections are consecutive, so each reduction covers the runs of one of them.
        every = np.logical_and.reduceat(lower, i[head], axis=0)
        some = np.logical_or.reduceat(lower, i[head], axis=0)
        shared = np.where(mixed[:, None], shared & every, shared)
        looked_up = runs.spans(some & ~shared & mixed[:, None])
    begin = np.repeat(folded.begins(np.minimum(found.begin, i), i), end - start)
    if filled:
        begin = _filled(begin, folded, first)
    return Sections(
        start[head], end[last], mixed, reads_itself,
        runs.spans(shared), looked_up, begin,
    )  # fmt: skip


def _filled(begin: np.ndarray, folded: Folded, first: int) -> np.ndarray:
    """`begin` with the rows that were left out: each frame is as far on as its neighbours are."""
    at, tokens = folded.start - first, folded.tokens
    one, other = begin[at - tokens : at], begin[at : at + tokens]
    step = (other - one) // (folded.frames + 1)
    rows = one + np.arange(1, folded.frames + 1)[:, None] * step
    return np.concatenate((begin[:at], rows.reshape(-1), begin[at:]))


def _pack(
    starts: tuple[int, ...], group_start: list[int], group_end: list[int], block_q: int
) -> list[tuple[int, bool]]:
    """Put short neighbouring sections together: their first group, and whether they are mixed."""
    ends = [*(g - 1 for g in starts[1:]), len(group_end) - 1]
    packs: list[tuple[int, bool]] = []
    filled_to = 0
    for g, last in zip(starts, ends, strict=True):
        if packs:
            begin = group_start[packs[-1][0]]
            if 2 * (filled_to - begin) < block_q and group_end[last] - begin <= block_q:
                packs[-1] = (packs[-1][0], True)
                filled_to = group_end[last]
                continue
        packs.append((g, False))
        filled_to = group_end[last]
    return packs
