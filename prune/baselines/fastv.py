"""FastV (arXiv 2403.06764, section 4): drop the video tokens that get the least attention."""

import torch

from prune.baselines.baseline import Baseline, CostTarget
from prune.baselines.dropping import dropping_states

LAYER = 2
"""Layers before the drop (K in the paper, its recommended value)."""


def fastv(target: CostTarget, seed: int = 0) -> Baseline:
    """After layer `LAYER`, keep as many tokens as cost what the plan costs.

    The paper ranks tokens by the attention that they receive; as in its code, that of the last
    prompt token in layer `LAYER`, averaged over heads.
    """
    keep = target.fewest_tokens(LAYER)
    edges, flops = target.after_dropping(LAYER, keep)
    share = keep / target.num_video

    def choose(attention: torch.Tensor) -> torch.Tensor:
        return attention.topk(round(share * len(attention))).indices

    return Baseline(
        "FastV",
        "arXiv 2403.06764",
        f"{keep} of {target.num_video} video tokens after layer {LAYER}",
        edges,
        flops,
        lambda batch: dropping_states(batch, LAYER, choose),
    )
