"""One masked SDPA call, for inputs so small that several calls cost more than they skip."""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels.segment_attention.layout import Layout, ReachTable, Runs

MAX_KEYS = 512
"""torch's CPU kernel computes tiles of 512 keys whole, so up to here a mask costs next to nothing
beside `is_causal`. Measured with `benchmarks/short.py`: blocks were slower at every width."""

MAX_SCORE_FLOPS = 6e7
"""Of a sequence's scores, over its heads: below it one call was faster with more keys, too."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The edges of a layout as what SDPA adds to the scores; all on one device.

    The first dimension is 1 where all batch rows have the same edges, the second where all heads
    do.

    Attributes:
        bias: `[B, Hq, Sq, Sk]`, 0 or -inf; 0 in rows without a key, so that no NaN comes of them.
            None if nothing is removed and SDPA's own causality is enough.
        empty: bool `[B, Hq, Sq, 1]`, rows without a key; None if there are none.
        unread: bool `[B, Hkv, Sk, 1]`, keys that no row reads; None if there are none.
    """

    bias: Tensor | None
    empty: Tensor | None
    unread: Tensor | None


def is_small(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether one masked call is the fastest: on a CPU, few scores, and no gradient."""
    if q.is_cuda or (torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))):
        return False
    _, heads, rows, dim = q.shape
    keys = k.shape[2]
    return keys <= MAX_KEYS or 2 * heads * rows * keys * dim <= MAX_SCORE_FLOPS


def masked_call(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, reach: ReachTable, scale: float
) -> Tensor:
    """Attention `[B, Hq, Sq, D]`; arguments as in `sdpa_attention`."""
    heads, kv_heads, rows = q.shape[1], k.shape[1], q.shape[2]
    mask = _mask(layout, rows, reach, heads // kv_heads, q.dtype, q.device)
    causal, grouped = mask.bias is None and rows > 1, heads != kv_heads
    run = partial(F.scaled_dot_product_attention, is_causal=causal, scale=scale, enable_gqa=grouped)
    out = run(q, k, v, mask.bias)
    # Keys that nothing reads may hold NaN or infinities, and 0 times those is NaN. To look at the
    # output is cheaper than to clear such keys beforehand.
    if mask.unread is not None and not math.isfinite(out.sum(dtype=torch.float64).item()):
        out = run(q, k.masked_fill(mask.unread, 0), v.masked_fill(mask.unread, 0), mask.bias)
    return out if mask.empty is None else out.masked_fill(mask.empty, 0)


# Of one prompt a pass needs a few: layers share tables and, mostly, tokens.
@lru_cache(maxsize=32)
def _mask(
    layout: Layout,
    rows: int,
    reach: ReachTable,
    per_kv_head: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Mask:
    grids = _grids(layout, rows)
    found = [[grid.part(table) for table in reach.values] for grid in grids]
    parts = [part for row in found for part in row]
    if rows in (1, layout.shape[1]) and all(part.plain for part in parts):
        return Mask(None, None, None)
    order = [0] * layout.shape[0]
    for index, (members, _) in enumerate(layout.rows):
        for member in members:
            order[member] = index

    def whole(parts: list[list[Tensor]], heads: int = 1) -> Tensor:
        """One tensor of every part, `[B or 1, heads of a layer or 1, ...]`."""
        if len(parts) == len(parts[0]) == 1:
            return parts[0][0][None, None].to(device)
        stacked = torch.stack([torch.stack(row) for row in parts])
        stacked = stacked[order] if len(parts) > 1 else stacked
        several = heads > 1 and len(parts[0]) > 1
        return (stacked.repeat_interleave(heads, 1) if several else stacked).to(device)

    bias = whole([[part.bias for part in row] for row in found], per_kv_head)
    empty = unread = None
    if any(part.empty.any() for part in parts):
        empty = whole([[part.empty for part in row] for row in found], per_kv_head)
        bias = bias.masked_fill_(empty, 0)
    if any(part.unread.any() for part in parts):
        unread = whole([[part.unread for part in row] for row in found])
    return Mask(bias.to(dtype), empty, unread)


@dataclass(frozen=True)
class _Part:
    """Of one sequence and head, as in `Mask`.

    Attributes:
        plain: whether nothing is removed.
        bias: `[rows, keys]`.
        empty: `[rows, 1]`.
        unread: `[keys, 1]`.
    """

    plain: bool
    bias: Tensor
    empty: Tensor
    unread: Tensor


class _Grid:
    """The run at each row, and at each key, of one sequence; all masks share it.

    Args:
        runs: of the sequence.
        rows: its last positions, which are the queries.
    """

    def __init__(self, runs: Runs, rows: int):
        keys = int(runs.end[-1])
        self._runs = runs.cut(keys - rows)
        self._begin = int(np.searchsorted(self._runs.start, keys - rows))
        self._sizes = self._runs.end - self._runs.start
        count = len(self._sizes)
        self._causal = np.tri(count, dtype=bool)[self._begin :]
        self._run_of_key = torch.from_numpy(np.repeat(np.arange(count), self._sizes))
        self._run_of_row = self._run_of_key[keys - rows :] - self._begin
        # Within a run, keys behind a row.
        self._behind = _triangle(1 << (keys - 1).bit_length())[keys - rows : keys, :keys]

    def part(self, table: np.ndarray) -> _Part:
        """The edges of a table `[R, R]`."""
        allowed = self._runs.allowed(table)[self._begin :] & self._causal
        bias = torch.from_numpy(np.where(allowed, np.float32(0), np.float32(-np.inf)))
        # A run that reads itself gives each of its rows, and each of its keys, at least itself.
        return _Part(
            bool((allowed == self._causal).all()),
            bias.index_select(0, self._run_of_row)
            .index_select(1, self._run_of_key)
            .add_(self._behind),
            torch.from_numpy(~allowed.any(1))[self._run_of_row, None],
            torch.from_numpy(~allowed.any(0))[self._run_of_key, None],
        )


@lru_cache(maxsize=4)
def _triangle(size: int) -> Tensor:
    return torch.full((size, size), -torch.inf).triu_(1)


@lru_cache(maxsize=16)
def _grids(layout: Layout, rows: int) -> list[_Grid]:
    """Of the distinct sequences of a layout."""
    return [_Grid(runs, rows) for _, runs in layout.rows]
