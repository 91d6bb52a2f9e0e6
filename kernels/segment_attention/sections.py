"""Sections of query rows that one tile may hold any part of, found on the host from runs of tokens.

Each row of a *section* reads one unbroken stretch of keys up to itself, which begins where that of
the row before it began or later, and before the stretch the same keys as the other rows. The frames
of a frame-local or windowed clip are one section, so that tiles need not end where frames do: no
row of a tile is left empty, whatever a frame's size. Neighbouring sections that are too short to
fill a tile become one *mixed* section, whose mask is looked up in the reach table.
"""

from dataclasses import dataclass

import numpy as np

from prune.kernels.segment_attention.blocks import groups
from prune.kernels.segment_attention.layout import Runs


@dataclass(frozen=True)
class Sections:
    """The sections of one sequence and reach table, in order; each query is in exactly one.

    Attributes:
        first_run: int64 `[N]`, the run at which a section starts; runs are `Runs.cut` at the first
            query.
        start, end: int64 `[N]`, its token positions.
        mixed: bool `[N]`.
        reads_itself: bool `[N]`, whether its rows read each other, causally; False if mixed.
        shared: bool `[N, runs]`, the runs before their stretches that all its rows read.
        looked_up: bool `[N, runs]`, runs that some rows of a mixed section read.
        begin: int64 `[Sq]`, where the stretch of every query starts.
    """

    first_run: np.ndarray
    start: np.ndarray
    end: np.ndarray
    mixed: np.ndarray
    reads_itself: np.ndarray
    shared: np.ndarray
    looked_up: np.ndarray
    begin: np.ndarray


def sections(runs: Runs, reach: np.ndarray, first: int, block_q: int) -> Sections:
    """Find the sections.

    Args:
        runs: of the whole sequence, cut at `first`.
        reach: integers `[R, R]`.
        first: position of the first query.
        block_q: rows of a tile; sections that fill less than half of it are put together.
    """
    allowed = runs.allowed(reach)
    found = groups(allowed, int(np.searchsorted(runs.start, first)))
    i, j, causal = (np.array(column) for column in zip(*found, strict=True))
    begin_run = _stretches(allowed, i)
    joined = _join(allowed[i], causal, begin_run)
    packed = _pack(joined, runs.start[i].tolist(), runs.end[j - 1].tolist(), block_q)

    head, mixed = (np.array(column) for column in zip(*packed, strict=True))
    last = np.append(head[1:], len(i)) - 1
    start, end = runs.start[i[head]], runs.end[j[last] - 1]
    reads_itself = causal[head] & ~mixed
    index = np.arange(len(runs.start))
    lower = allowed & np.tri(len(index), dtype=bool)
    before = np.where(reads_itself, begin_run[head], i[head])
    shared = lower[i[head]] & (index < before[:, None])
    looked_up = np.zeros((len(head), len(index)), bool)
    if mixed.any():
        # The sections are consecutive, so each reduction covers the runs of one of them.
        every = np.logical_and.reduceat(lower, i[head], axis=0)
        some = np.logical_or.reduceat(lower, i[head], axis=0)
        shared = np.where(mixed[:, None], shared & every, shared)
        looked_up = some & ~shared & mixed[:, None]
    begin = np.repeat(runs.start[np.minimum(begin_run, i)], runs.end[j - 1] - runs.start[i])
    return Sections(i[head], start, end, mixed, reads_itself, shared, looked_up, begin)


def _stretches(allowed: np.ndarray, i: np.ndarray) -> np.ndarray:
    """The run from which on each group reads every run up to itself, without a gap."""
    gaps = ~allowed[i] & (np.arange(len(allowed)) < i[:, None])
    last_gap = allowed.shape[1] - 1 - gaps[:, ::-1].argmax(axis=1)
    return np.where(gaps.any(axis=1), last_gap + 1, 0)


def _join(rows: np.ndarray, causal: np.ndarray, begin_run: np.ndarray) -> list[int]:
    """The groups at which a section starts.

    Args:
        rows: bool `[groups, runs]`, what each group reads.
        causal: bool `[groups]`, whether a group reads itself.
        begin_run: int64 `[groups]`, of `_stretches`.
    """
    changes = rows[1:] != rows[:-1]
    first_change = np.where(changes.any(axis=1), changes.argmax(axis=1), rows.shape[1])
    # Number of runs that a group reads before each run.
    read = np.zeros((len(rows), rows.shape[1] + 1), np.int32)
    np.cumsum(rows, axis=1, out=read[:, 1:])
    group = np.arange(1, len(rows))
    earlier, later = begin_run[:-1], begin_run[1:]
    joins = (
        causal[1:]
        & causal[:-1]
        & (later >= earlier)
        & (first_change >= earlier)
        & (read[group, later] == read[group, earlier])
    )
    return [0, *(group[~joins]).tolist()]


def _pack(
    starts: list[int], group_start: list[int], group_end: list[int], block_q: int
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
