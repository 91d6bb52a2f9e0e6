"""A long clip is described by a few of its frames.

What reads what depends on the roles and frames of runs, and no frame far from both ends of a clip
is special. So equal frames in the middle are left out, and what is found of the others holds for
them: host time does not grow with the number of frames.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prune.kernels.segment_attention.layout import ALL, Runs, farthest
from prune.kernels.segment_attention.structure import Structure

MARGIN = 3
"""Frames kept on each side of those left out, beside as many as the longest window reaches."""


@dataclass(frozen=True, eq=False)
class Folded:
    """Runs of which those of some frames are left out, and where.

    Attributes:
        runs: the others; positions are those of the whole sequence.
        clip: index in `runs` of the clip's first run.
        at: of the first run after those left out; 0 if there are none.
        period: runs of a frame, text between frames included.
        frames: number of frames left out.
        tokens: of a frame.
    """

    runs: Runs
    clip: int = 0
    at: int = 0
    period: int = 0
    frames: int = 0
    tokens: int = 0

    @property
    def start(self) -> int:
        """Position of the first token left out."""
        return int(self.runs.end[self.at - 1])

    @property
    def end(self) -> int:
        """Position after the last token left out."""
        return int(self.runs.start[self.at])

    def begins(self, run: np.ndarray, reader: np.ndarray) -> np.ndarray:
        """Where stretches start that begin with `run` and are read by the runs `reader`.

        What begins inside the clip moves with its reader.
        """
        inside = (reader >= self.at) & (run > self.clip) & (run < self.at)
        begins: np.ndarray = self.runs.start[run] + inside * (self.frames * self.tokens)
        return begins

    def ends(self, last: np.ndarray, reader: np.ndarray) -> np.ndarray:
        """Where stretches end whose last run is `last`."""
        inside = (reader >= self.at) & (last >= self.clip) & (last < self.at)
        ends: np.ndarray = self.runs.end[last] + inside * (self.frames * self.tokens)
        return ends

    def holds(self, structure: Structure) -> bool:
        """Whether text reads all of the clip or nothing, and a group is within a frame or all."""
        first, end = structure.first, structure.end
        readers = first[(first >= self.at) & (self.runs.frame[first] < 0)]
        read = structure.allowed[readers, self.clip : self.at]
        over = (first < self.at) & (end > self.at)
        whole = (first <= self.at - 2 * self.period) & (end >= self.at + self.period)
        return bool((read.all(axis=1) | ~read.any(axis=1)).all() and (whole | ~over).all())


def fold(runs: Runs, reach: np.ndarray, first: int) -> Folded:
    """Leave out the frames in the middle of a clip, if they are equal and there are enough.

    Args:
        runs: of the whole sequence, cut at `first`.
        reach: integers `[R, R]`.
        first: position of the first query.
    """
    distances = farthest(reach)
    finite = distances[distances < ALL]
    return _fold(runs, int(finite.max()) if finite.size else 0, first)


# All tables of a model, and both kinds of work, fold a layout alike.
@lru_cache(maxsize=64)
def _fold(runs: Runs, window: int, first: int) -> Folded:
    framed = np.flatnonzero(runs.frame >= 0)
    kept = window + 2 * MARGIN
    if len(framed) <= kept:
        return Folded(runs)
    clip, last = int(framed[0]), int(framed[-1])
    second = int(np.searchsorted(runs.frame[framed], runs.frame[clip], "right"))
    period = int(framed[second]) - clip if second < len(framed) else 0
    frames = (last + 1 - clip) // period if period > 0 else 0
    cut_inside = runs.start[clip] < first <= runs.start[last]
    if frames <= kept or cut_inside or not _repeats(runs, clip, frames, period):
        return Folded(runs)
    at, out = clip + (window + MARGIN) * period, frames - kept
    columns = (runs.start, runs.end, runs.role, runs.frame)
    start, end, role, frame = (np.concatenate((x[:at], x[at + out * period :])) for x in columns)
    frame[at:] -= np.where(frame[at:] >= 0, out, 0)
    tokens = int(runs.start[clip + period] - runs.start[clip])
    return Folded(Runs(start, end, role, frame), clip, at, period, out, tokens)


def _repeats(runs: Runs, clip: int, frames: int, period: int) -> bool:
    """Whether each of `frames` times `period` runs is its predecessor, one frame on."""
    inside = slice(clip, clip + frames * period)
    role, frame = runs.role[inside], runs.frame[inside]
    length = runs.end[inside] - runs.start[inside]
    later = np.where(frame < 0, -1, frame + 1)
    pairs = ((role, role), (length, length), (frame, later))
    equal = all(np.array_equal(x[period:], y[:-period]) for x, y in pairs)
    # A last frame may lack the text that follows the others.
    return equal and int(runs.frame.max()) <= int(frame[0]) + frames
