"""Which runs read which, and how they group: from roles and frames alone, whatever their lengths.

Found once for all prompts of one form: a question of another length, or a clip of another length
that is folded (`folding.py`), finds it here.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prune.kernels.segment_attention.layout import Runs

CACHED_RUNS = 64
"""Structures of more runs are large, and made anew each time."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Groups of query runs, greedily from the left.

    Runs `first` to `end - 1` of a group read the same runs before `first`, and each reads all of
    `first` to itself (causal) or none of them.

    Attributes:
        allowed: bool `[N, N]` of `Runs.allowed`.
        first, end: int64 `[G]`.
        causal: bool `[G]`.
        begin: int64 `[G]`, the run from which on a group reads every run up to itself, without a
            gap.
        starts: the groups at which a section starts (`sections.py`).
    """

    allowed: np.ndarray
    first: np.ndarray
    end: np.ndarray
    causal: np.ndarray
    begin: np.ndarray
    starts: tuple[int, ...]


def structure(runs: Runs, reach: np.ndarray, first: int) -> Structure:
    """The structure of the runs from position `first` on, which is not the end.

    Args:
        runs: cut at `first`.
        reach: integers `[R, R]`.
    """
    first_run = int(np.searchsorted(runs.start, first))
    if len(runs.role) > CACHED_RUNS:
        return _structure(runs.allowed(reach), first_run)
    return _cached(runs.role.tobytes(), runs.frame.tobytes(), reach.tobytes(), first_run)


@lru_cache(maxsize=1024)
def _cached(roles: bytes, frames: bytes, reach: bytes, first_run: int) -> Structure:
    role, frame, values = (np.frombuffer(x, np.int64) for x in (roles, frames, reach))
    # Positions do not matter.
    index = np.arange(len(role))
    size = round(len(values) ** 0.5)
    allowed = Runs(index, index + 1, role, frame).allowed(values.reshape(size, size))
    return _structure(allowed, first_run)


def _structure(allowed: np.ndarray, first_run: int) -> Structure:
    found = _groups(allowed, first_run)
    first, end, causal = (np.array(column) for column in zip(*found, strict=True))
    begin = _stretches(allowed, first)
    return Structure(allowed, first, end, causal, begin, _starts(allowed[first], causal, begin))


def _groups(allowed: np.ndarray, first_run: int) -> list[tuple[int, int, bool]]:
    """`(first, end, causal)` of each group."""
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


def _stretches(allowed: np.ndarray, i: np.ndarray) -> np.ndarray:
    """The run from which on each group reads every run up to itself, without a gap."""
    gaps = ~allowed[i] & (np.arange(len(allowed)) < i[:, None])
    last_gap = allowed.shape[1] - 1 - gaps[:, ::-1].argmax(axis=1)
    return np.where(gaps.any(axis=1), last_gap + 1, 0)


def _starts(rows: np.ndarray, causal: np.ndarray, begin_run: np.ndarray) -> tuple[int, ...]:
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
    return (0, *(group[~joins]).tolist())
