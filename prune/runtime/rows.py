"""Subsets of the tokens of a batch, as rectangular index tensors.

Prompts of a batch keep different numbers of tokens. Each row's columns stand in order at the right,
so that `last` stays the last; shorter rows are filled on the left with `NO_TOKEN`.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prune.layout.segments import Role, Segments

NO_TOKEN = -1


def rows_of(chosen: Tensor) -> Tensor:
    """The chosen columns of every row: bool `[B, S]` to int64 `[B, n]`."""
    return torch.from_numpy(columns_of(chosen.numpy()))


def columns_of(chosen: np.ndarray) -> np.ndarray:
    """`rows_of` an array."""
    if len(chosen) == 1:
        return np.asarray(chosen[0].nonzero()[0][None])
    counts = chosen.sum(1)
    row, column = chosen.nonzero()
    width = int(counts.max())
    if (counts == width).all():
        return column.reshape(len(chosen), width)
    rows = np.full((len(chosen), width), NO_TOKEN)
    # Row after row, the chosen of each end at the right.
    rows[row, np.arange(len(row)) + (width - counts.cumsum())[row]] = column
    return rows


def along(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What stands at the places `[B, n]` of every row of values `[B, m]`."""
    # Of numpy's own `take_along_axis` one prompt would take several times as long.
    return values[0, places] if len(values) == 1 else np.take_along_axis(values, places, 1)


@dataclass(frozen=True)
class _Placed:
    """The columns of some tokens on one device.

    Attributes:
        first: where all rows of the batch have the same ones, side by side, the first; else None.
        alike: int64 `[n]`, where all rows have the same ones, in other places; else None.
        each: int64 `[B, n]`, `NO_TOKEN` where there is no token; else None.
    """

    first: int | None = None
    alike: Tensor | None = None
    each: Tensor | None = None


def _on(device: torch.device, rows: Tensor) -> _Placed:
    # An index tensor carries its copies: a layer's are used by several modules, and by all prompts
    # of one layout, and every copy to a GPU would make the host wait for it.
    copies: dict[torch.device, _Placed] = vars(rows).setdefault("prune_placed", {})
    if (found := copies.get(device)) is None:
        found = copies[device] = _placed(device, rows)
    return found


def _placed(device: torch.device, rows: Tensor) -> _Placed:
    places = rows.numpy()
    row = places[0]
    same = len(places) == 1 or bool((places == row).all())
    if not same or not row.size or row[0] == NO_TOKEN:
        return _Placed(each=rows.to(device))
    if (row[1:] == row[:-1] + 1).all():
        return _Placed(first=int(row[0]))
    return _Placed(alike=rows[0].to(device))


def take(x: Tensor, rows: Tensor, axis: int = 1) -> Tensor:
    """The tokens `rows` `[B, n]` of `x`, whose tokens lie along `axis`, right after the batch.

    The batch of `x` may be 1; axes before it are kept, as in position embeddings `[3, B, S, D]`.
    Where there is no token stands a copy of the first, which nothing reads. `rows` is on the CPU
    and is not changed afterwards. The result may share the memory of `x`.
    """
    axis %= x.ndim
    placed = _on(x.device, rows)
    if placed.first is not None:
        return x.narrow(axis, placed.first, rows.shape[1])
    if placed.alike is not None:
        return x.index_select(axis, placed.alike)
    assert placed.each is not None
    x = x.movedim((axis - 1, axis), (0, 1))
    x = x.expand(len(rows), *x.shape[1:])
    batch = torch.arange(len(rows), device=x.device)[:, None]
    return x[batch, placed.each.clamp(min=0)].movedim((0, 1), (axis - 1, axis))


def take_keys(x: Tensor, rows: Tensor) -> Tensor:
    """The keys or values `[B, H, n, D]` of the tokens `rows` `[B, m]`, in memory of their own."""
    placed = _on(x.device, rows)
    if placed.first is not None:
        return x.narrow(2, placed.first, rows.shape[1]).clone()
    if placed.alike is not None:
        # Of a projection's output, whose heads stand side by side, whole rows are copied.
        return x.transpose(1, 2).index_select(1, placed.alike).transpose(1, 2)
    assert placed.each is not None
    return x.take_along_dim(placed.each.clamp(min=0)[:, None, :, None], 2)


def spread(x: Tensor, rows: Tensor, size: int) -> Tensor:
    """The reverse of `take`: `x` `[B, n, ...]` in its columns of zeros `[B, size, ...]`."""
    placed = _on(x.device, rows)
    if placed.first is not None:
        behind = size - placed.first - rows.shape[1]
        return F.pad(x, (*(0, 0) * (x.ndim - 2), placed.first, behind))
    if placed.alike is not None:
        return x.new_zeros(x.shape[0], size, *x.shape[2:]).index_copy_(1, placed.alike, x)
    assert placed.each is not None
    out = x.new_zeros(x.shape[0], size + 1, *x.shape[2:])
    batch = torch.arange(len(x), device=x.device)[:, None]
    # One more column than asked for takes what is no token.
    out[batch, placed.each.where(placed.each >= 0, size)] = x
    return out[:, :size]


def key_roles(segments: Segments, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Role int8 and frame int32 `[B, length]` of keys: tokens at `positions`, then answers."""
    places = positions.numpy()
    gone, behind = places == NO_TOKEN, length - places.shape[1]
    found = []
    for values, answer in ((segments.role, int(Role.ANSWER)), (segments.frame, -1)):
        held = along(values.numpy(), places)
        held[gone] = -1
        if behind:
            held = np.pad(held, ((0, 0), (0, behind)), constant_values=answer)
        found.append(torch.from_numpy(held))
    role, frame = found
    return role, frame
