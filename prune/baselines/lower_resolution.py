"""Lower resolution of every frame, which VTC-Bench finds to beat many methods.

A processor whose frames follow their resolution reads smaller frames. Where frames have one size,
the features of a frame are averaged over a coarser grid, as far as its tokens are a square.
"""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.fewer_tokens import Kept, beside_cells, grid_of_frames, reducing
from prune.baselines.reencoded import Reader, cheapest, reencoding
from prune.families import family_of_processor
from prune.inputs.encode import decode
from prune.inputs.sample import Sample
from prune.layout.segments import Role

STEPS = 64
"""Settings of a clip's pixels between none and as many as it has."""


def lower_resolution(target: CostTarget, reader: Reader) -> Baseline | None:
    """As many pixels as cost what the plan costs.

    Returns:
        None if frames have one size and are no square of tokens, or no coarser one costs as much.
    """
    if family_of_processor(reader.opened.processor).bounds_pixels:
        return _fewer_pixels(target, reader)
    video = target.prompt.frame[target.prompt.role == Role.VIDEO]
    cells = grid_of_frames(video)
    side = math.isqrt(cells.shape[1])
    if side**2 != cells.shape[1]:
        return None
    keep = target.fewest_tokens(0)
    coarse = next((n for n in range(1, side) if n * n * len(cells) >= keep), None)
    if coarse is None:
        return None
    share = coarse**2 / side**2
    made = reducing(
        "lower resolution",
        "features averaged over a coarser grid",
        target,
        partial(pooled, side=coarse),
        share,
    )
    return replace(made, setting=f"{coarse} x {coarse} of {side} x {side} tokens of a frame")


def pooled(features: Tensor, frame: Tensor, keep: int, side: int) -> Kept:
    """Means of features `[V, d]` over `side` x `side` parts of each frame's square grid.

    A part stands where its middle cell stood.
    """
    cells = grid_of_frames(frame)
    others = beside_cells(frame, cells)
    whole = math.isqrt(cells.shape[1])
    grid = features.float()[cells].transpose(1, 2).unflatten(2, (whole, whole))
    means = adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2).flatten(0, 1)
    middle = ((torch.arange(side) + 0.5) * whole / side).long()
    standing = cells[:, (middle[:, None] * whole + middle).flatten()].flatten()
    places = torch.cat([standing, others])
    order = places.argsort()
    both = torch.cat([means.to(features.dtype), features[others]])
    return Kept(places[order], both[order.to(both.device)])


def _fewer_pixels(target: CostTarget, reader: Reader) -> Baseline:
    clip, _ = decode(reader.sample, reader.num_frames)
    size = getattr(reader.opened.processor, f"{reader.sample.medium}_processor").size
    # Some processors bound a frame and others the clip; a bound over what it has changes nothing.
    most = min(size["longest_edge"], clip.size // 3)

    def at(step: int) -> partial[tuple[Sample, int]]:
        return partial(_bounded, pixels=max(1, most * step // STEPS))

    step = cheapest(target, reader, STEPS, at)
    setting = f"at most {most * step // STEPS:,} pixels"
    return reencoding("lower resolution", "smaller frames", setting, target, reader, at(step))


def _bounded(sample: Sample, num_frames: int, pixels: int) -> tuple[Sample, int]:
    bound = replace(sample.reading, min_pixels=1, max_pixels=pixels)
    return replace(sample, own=bound), num_frames
