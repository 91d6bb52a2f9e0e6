"""Attention rollout (Abnar and Zuidema, arXiv 2005.00928) through the text model."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.evidence.case import Case
from prune.runtime.attention import seam


class _Recorder:
    """Attends densely, and multiplies the heads' mean attention of the layers as it goes.

    Attributes:
        rolled: `[S, S]`, how much of each token's state comes from each input token.
    """

    def __init__(self, size: int):
        self.rolled = torch.eye(size)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
        size = query.shape[2]
        later = torch.ones(size, size, dtype=torch.bool, device=query.device).triu(1)
        scores = (query @ key.transpose(-1, -2) * scale).float().masked_fill(later, -torch.inf)
        weights = scores.softmax(-1)
        mixed = (weights[0].mean(0).cpu() + torch.eye(size)) / 2
        self.rolled = mixed @ self.rolled
        return weights.to(value.dtype) @ value


@torch.no_grad()
def rollout(case: Case) -> NDArray[np.float64]:
    """The share of each token in the states that predict the target, `[T, H, W]`.

    Half of every layer's output is the residual stream's, half attention's. Holds one layer's
    `[Hq, S, S]` in memory.
    """
    replay, target = case.forcing.replay, case.target
    size = replay.segments.shape[1]
    recorder = _Recorder(size)
    with seam(case.model):
        replay.text_model(**replay.kwargs, prune=recorder)
    rows = [size - len(target.ids) - 1 + position for position in target.positions]
    return case.map_of(recorder.rolled[rows][:, case.forcing.video].mean(0).double().numpy())
