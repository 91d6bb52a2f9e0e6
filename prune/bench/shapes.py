"""Counted costs of a plan on prompts with more frames than were measured."""

from collections.abc import Sequence
from itertools import groupby

from prune.layout.reach import Reach
from prune.layout.segments import Segments
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.results.latency import Shape

TIMES = (1, 2, 4, 8)
"""Multiples of the measured number of frames."""


def shape_of(reach: Reach, prompt: Segments, geometry: Geometry, num_frames: int) -> Shape:
    """Count one prompt of `num_frames` frames."""
    dense = dense_cost(len(reach), prompt, geometry)
    pruned = cost_of(reach, prompt, geometry)
    return Shape(
        num_frames, prompt.shape[1], dense.flops, pruned.flops, dense.kv_bytes, pruned.kv_bytes
    )


def shapes(
    reach: Reach,
    prompt: Segments,
    geometry: Geometry,
    num_frames: int,
    times: Sequence[int] = TIMES,
) -> tuple[Shape, ...]:
    """Count a prompt, and the same question about clips of several times as many frames.

    Args:
        reach: int32 `[L, G, R, R]`.
        prompt: of one sample.
        geometry: of the model.
        num_frames: frames that the model was given; a temporal unit may hold several.
        times: factors.
    """
    return tuple(
        shape_of(reach, _longer(prompt, factor), geometry, factor * num_frames) for factor in times
    )


def _longer(prompt: Segments, times: int) -> Segments:
    """A prompt whose video, with the text between its frames, is so many times as long."""
    runs: list[tuple[int, int, int]] = []
    shift = 0
    for in_video, group in groupby(prompt.runs(), key=lambda run: run[1] >= 0):
        part = list(group)
        if not in_video:
            runs += part
            continue
        units = len({frame for _, frame, _ in part})
        for turn in range(times):
            runs += [(role, frame + shift + turn * units, count) for role, frame, count in part]
        shift += (times - 1) * units
    return Segments.of_runs(runs)
