"""Uniform token subsampling, which ignores the model."""

import torch

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.dropping import dropping_states


def subsample(target: CostTarget, seed: int = 0) -> Baseline:
    """Keep every n-th video token from the first layer on, as many as cost what the plan costs."""
    keep = target.fewest_tokens(0)
    edges, flops = target.after_dropping(0, keep)
    share = keep / target.num_video

    def choose(attention: torch.Tensor) -> torch.Tensor:
        count = len(attention)
        kept = round(share * count)
        return ((torch.arange(kept) + 0.5) * (count / max(1, kept))).long()

    return Baseline(
        "uniform tokens",
        "every n-th video token",
        f"{keep} of {target.num_video} video tokens",
        edges,
        flops,
        lambda batch: dropping_states(batch, 0, choose),
    )
