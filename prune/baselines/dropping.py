"""Enforcer for methods that drop video tokens: from some layer on, no query reads them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prune.evaluate.answers import EncodedBatch
from prune.kernels import allowed_edges
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, Segments
from prune.runtime.enforce import masked_attention

Choose = Callable[[Tensor], Tensor]
"""Maps the attention that video tokens receive, `[V]`, to the indices of those that stay."""


@dataclass
class DroppingEnforcer:
    """Drops video tokens before layer `first`: the same for the answer as leaving them out there.

    Attributes:
        segments: layout of the prompts, `[B, S]`.
        first: 0-based layer.
        choose: which tokens of a prompt stay. It is shown the attention that `last` paid them in
            the layer before, averaged over heads; before layer 0 there is none, and it sees zeros.
    """

    segments: Segments
    first: int
    choose: Choose
    _dense: Tensor = field(init=False)
    _after: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        role, frame = self.segments.role, self.segments.frame
        table = torch.from_numpy(dense_reach(1)[0])
        self._dense = allowed_edges(role, frame, table, role.shape[1])
        if self.first == 0:
            self._drop(torch.zeros(role.shape))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        if layer == self.first - 1:
            self._drop(_attention_of_last(query, key, scale, self.segments).cpu())
        mask = self._dense if layer < self.first else self._after
        assert mask is not None
        return masked_attention(query, key, value, mask.to(query.device), scale)

    def _drop(self, attention: Tensor) -> None:
        """Choose from `attention` `[B, S]`."""
        self._after = self._dense.clone()
        for row, role in enumerate(self.segments.role):
            video = torch.nonzero(role == Role.VIDEO)[:, 0]
            dropped = torch.ones(len(video), dtype=torch.bool)
            dropped[self.choose(attention[row, video])] = False
            self._after[row, :, :, video[dropped]] = False


def _attention_of_last(query: Tensor, key: Tensor, scale: float, segments: Segments) -> Tensor:
    """Attention of the last prompt token to every key, mean over heads: `[B, S]`."""
    groups = query.shape[1] // key.shape[1]
    place = (segments.role == Role.LAST).int().argmax(1)
    rows = torch.arange(len(place), device=query.device)
    last = query[rows, :, place.to(query.device)][:, :, None].float()
    scores = last @ key.repeat_interleave(groups, 1).float().transpose(2, 3) * scale
    unread = (segments.role < 0) | (segments.role == Role.ANSWER)
    hidden = unread.to(query.device)[:, None, None]
    return scores.masked_fill(hidden, float("-inf")).softmax(-1).mean(1)[:, 0]


def dropping_states(batch: EncodedBatch, first: int, choose: Choose) -> Tensor:
    """Final states `[B, count, d]` of a batch under `DroppingEnforcer`."""
    enforcer = DroppingEnforcer(batch.replay.segments, first, choose)
    return batch.replay.last_states(enforcer, batch.count)
