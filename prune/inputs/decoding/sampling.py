"""Sampling policies: which frames of a clip are decoded."""

import math
from collections.abc import Callable
from fractions import Fraction

from prune.errors import BadInputError
from prune.inputs.decoding.timeline import Timeline


def uniform(
    timeline: Timeline, num_frames: int, start: float | None, end: float | None, fps: float | None
) -> list[int]:
    """The frames shown at the midpoints of `num_frames` equal parts of the clip."""
    low, high = timeline.window(start, end)
    part = (high - low) / num_frames
    return [timeline.shown_at(low + (i + Fraction(1, 2)) * part) for i in range(num_frames)]


def at_rate(
    timeline: Timeline, num_frames: int, start: float | None, end: float | None, fps: float | None
) -> list[int]:
    """`fps` frames per second from the clip's start; `uniform` if that is over `num_frames`."""
    low, high = timeline.window(start, end)
    step = 1 / (Fraction(str(float(fps or 1))) * timeline.unit)
    count = max(1, math.ceil((high - low) / step))
    if count > num_frames:
        return uniform(timeline, num_frames, start, end, fps)
    return [timeline.shown_at(low + i * step) for i in range(count)]


def map_the_flow(
    timeline: Timeline, num_frames: int, start: float | None, end: float | None, fps: float | None
) -> list[int]:
    """The frames that the released code of Map the Flow takes (arXiv 2510.13251)."""
    timeline.window(start, end)
    indices = map_the_flow_indices(len(timeline), num_frames, float(timeline.fps), start, end)
    if min(indices) < 0 or max(indices) >= len(timeline):
        raise BadInputError(f"no frame between {start} s and {end} s for map-the-flow sampling")
    return indices


def map_the_flow_indices(
    count: int, num_frames: int, fps: float, start: float | None = None, end: float | None = None
) -> list[int]:
    """Indices as the released code computes them, from a frame count and one frame rate.

    They lean to the clip's start and may fall outside a clip whose bounds lie past its end.
    """
    first = 0 if start is None else max(0, round(start * fps))
    last = count - 1 if end is None else min(round(end * fps), count - 1)
    segment = float(last - first) / num_frames
    return [int(first + segment / 2 + round(segment * i)) for i in range(num_frames)]


Policy = Callable[[Timeline, int, float | None, float | None, float | None], list[int]]

POLICIES: dict[str, Policy] = {"uniform": uniform, "map-the-flow": map_the_flow, "fps": at_rate}
"""Sampling policies by name: frame indices, ascending, from a timeline and a clip's bounds."""
