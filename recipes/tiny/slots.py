"""Questions behind one video in one packed sequence, and the attention that keeps them apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Slots:
    """`count` questions of one kind, each padded on the right to `width` tokens.

    Kinds: `matching` (text alone: which letter is this word), `describe`, `open` and `lookup` (in
    words), `existence` (open ones about existence and the steps towards it), `two` (a choice of two
    options), `choice` (of all options).
    """

    kind: str
    count: int
    width: int


def attend_packed(
    qkv: tuple[Tensor, Tensor, Tensor],
    slots: Sequence[Slots],
    masks: Sequence[Tensor | None],
    attend: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor],
) -> Tensor:
    """Attention in which a question reads the prefix and itself: as if it stood alone.

    Args:
        qkv: queries, keys and values, each `[B, H, S, D]`.
        slots: behind the prefix.
        masks: of the prefix `[P, P]`, and of each kind of slot `[width, P + width]`.
        attend: attention `[B, H, Sq, D]` under a mask.

    Returns:
        `[B, S, H, D]`.
    """
    batch, heads, length, dim = qkv[0].shape
    start = prefix = length - sum(s.count * s.width for s in slots)
    query, key, value = (x[:, :, :prefix] for x in qkv)
    outputs = [attend(query, key, value, masks[0]).transpose(1, 2)]
    for s, mask in zip(slots, masks[1:], strict=True):
        stop = start + s.count * s.width
        own = [
            x[:, :, start:stop].unflatten(2, (s.count, s.width)).transpose(1, 2).flatten(0, 1)
            for x in qkv
        ]
        shared = [x[:, None].expand(-1, s.count, -1, -1, -1).flatten(0, 1) for x in (key, value)]
        keys, values = (
            torch.cat([one, more], 2) for one, more in zip(shared, own[1:], strict=True)
        )
        out = attend(own[0], keys, values, mask).unflatten(0, (batch, s.count))
        outputs.append(out.permute(0, 1, 3, 2, 4).reshape(batch, stop - start, heads, dim))
        start = stop
    return torch.cat(outputs, 1)
