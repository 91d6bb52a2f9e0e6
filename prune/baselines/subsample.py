"""Uniform token subsampling, which ignores the model."""

import torch
from torch import Tensor

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.fewer_tokens import Kept, evenly, reducing


def subsample(target: CostTarget, seed: int = 0) -> Baseline:
    """Keep every n-th video token from the first layer on, as many as cost what the plan costs."""
    return reducing("uniform tokens", "every n-th video token", target, every_nth)


def every_nth(features: Tensor, frame: Tensor, keep: int) -> Kept:
    """`keep` of the tokens `[V, d]`, spread evenly over the video."""
    index = evenly(torch.arange(len(features)), keep)
    return Kept(index, features[index])
