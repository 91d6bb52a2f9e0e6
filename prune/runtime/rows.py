"""Subsets of the tokens of a batch, as rectangular index tensors.

Prompts of a batch keep different numbers of tokens. Each row's columns stand in order at the right,
so that `last` stays the last; shorter rows are filled on the left with `NO_TOKEN`.
"""

import torch
from torch import Tensor

from prune.layout.segments import Role, Segments

NO_TOKEN = -1


def rows_of(chosen: Tensor) -> Tensor:
    """The chosen columns of every row: bool `[B, S]` to int64 `[B, n]`."""
    width = int(chosen.sum(1).max())
    # A stable sort of booleans: the unchosen first, the chosen after them in order.
    columns = chosen.int().argsort(dim=1, stable=True)[:, chosen.shape[1] - width :]
    return columns.where(chosen.gather(1, columns), NO_TOKEN)


def within(rows: Tensor, outer: Tensor, size: int) -> Tensor:
    """Places of the columns `rows` `[B, n]` in `outer` `[B, m]`, which holds them; all < `size`."""
    place = torch.zeros(len(outer), size + 1, dtype=torch.long)
    place.scatter_(1, outer.where(outer >= 0, size), torch.arange(outer.shape[1]).expand_as(outer))
    return place.gather(1, rows.clamp(min=0)).where(rows >= 0, NO_TOKEN)


def take(x: Tensor, rows: Tensor, axis: int = 1) -> Tensor:
    """The tokens `rows` `[B, n]` of `x`, whose tokens lie along `axis`, right after the batch.

    The batch of `x` may be 1; axes before it are kept, as in position embeddings `[3, B, S, D]`.
    Where there is no token stands a copy of the first, which nothing reads.
    """
    axis %= x.ndim
    rows = rows.clamp(min=0)
    if (rows == rows[:1]).all():
        return x.index_select(axis, rows[0].to(x.device))
    rows = rows.to(x.device)
    x = x.movedim((axis - 1, axis), (0, 1))
    x = x.expand(len(rows), *x.shape[1:])
    return x[torch.arange(len(rows), device=x.device)[:, None], rows].movedim(
        (0, 1), (axis - 1, axis)
    )


def spread(x: Tensor, rows: Tensor, size: int) -> Tensor:
    """The reverse of `take`: `x` `[B, n, ...]` in its columns of zeros `[B, size, ...]`."""
    rows = rows.to(x.device)
    out = x.new_zeros(x.shape[0], size + 1, *x.shape[2:])
    batch = torch.arange(len(x), device=x.device)[:, None]
    # One more column than asked for takes what is no token.
    out[batch, rows.where(rows >= 0, size)] = x
    return out[:, :size]


def key_roles(segments: Segments, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Role int8 and frame int32 `[B, length]` of keys: tokens at `positions`, then answers."""
    columns = positions.clamp(min=0)
    real = positions != NO_TOKEN
    role = segments.role.gather(1, columns).where(real, -1)
    frame = segments.frame.gather(1, columns).where(real, -1)
    extra = (0, length - positions.shape[1])
    pad = torch.nn.functional.pad
    return pad(role, extra, value=int(Role.ANSWER)), pad(frame, extra, value=-1)
