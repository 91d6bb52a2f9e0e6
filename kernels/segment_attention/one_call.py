"""Masked SDPA calls on tiles of rows, for inputs so small that blocks cost more than they skip."""

import math
from collections.abc import Callable
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

TILE_ROWS = 64
"""Rows of a call, which is given no key behind its last row. For the same reason that is faster
than one call with `is_causal`, the more so the more heads: 0.93x of its time at 227 keys, 4 heads
of 32; 0.76x at 227 keys, 8 heads of 64."""

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
    run = partial(_tiled, q, bias=mask.bias, scale=scale, grouped=heads != kv_heads)
    out = run(k, v)
    # Keys that nothing reads may hold NaN or infinities, and 0 times those is NaN. To look at the
    # output is cheaper than to clear such keys beforehand.
    if mask.unread is not None and not math.isfinite(out.sum(dtype=torch.float64).item()):
        out = run(k.masked_fill(mask.unread, 0), v.masked_fill(mask.unread, 0))
    return out if mask.empty is None else out.masked_fill(mask.empty, 0)


def _tiled(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, grouped: bool
) -> Tensor:
    """Attention of the last rows under `Mask.bias`."""
    call = partial(F.scaled_dot_product_attention, scale=scale, enable_gqa=grouped)
    rows, before = q.shape[2], k.shape[2] - q.shape[2]
    if bias is None:
        # The dense model's own call, bit for bit.
        return call(q, k, v, is_causal=rows > 1)
    if rows <= TILE_ROWS:
        return call(q, k, v, bias)
    batch, heads, _, dim = q.shape
    out = q.new_empty(batch, rows, heads, dim).transpose(1, 2)
    for start in range(0, rows, TILE_ROWS):
        stop = min(rows, start + TILE_ROWS)
        read, seen = slice(start, stop), slice(before + stop)
        out[:, :, read] = call(q[:, :, read], k[:, :, seen], v[:, :, seen], bias[:, :, read, seen])
    return out


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
    edges = [[(grid, grid.edges(table)) for table in reach.values] for grid in _grids(layout, rows)]
    every = [found for row in edges for found in row]
    at_the_end = rows in (1, layout.shape[1])
    if at_the_end and all(grid.is_plain(found) for grid, found in every):
        return Mask(None, None, None)

    def whole(part: Callable[[_Grid, np.ndarray], Tensor], heads: int = 1) -> Tensor:
        """That part of each, as one tensor: `[B or 1, heads of a layer or 1, ...]`."""
        if len(every) == 1:
            return part(*every[0])[None, None].to(device)
        stacked = torch.stack([torch.stack([part(*found) for found in row]) for row in edges])
        stacked = stacked[_order(layout)] if len(edges) > 1 else stacked
        several = heads > 1 and len(edges[0]) > 1
        return (stacked.repeat_interleave(heads, 1) if several else stacked).to(device)

    empty = unread = None
    if not all(found.any(1).all() for _, found in every):
        empty = whole(_Grid.empty, per_kv_head)
    if not all(found.any(0).all() for _, found in every):
        unread = whole(_Grid.unread)
    return Mask(whole(_Grid.bias, per_kv_head).to(dtype), empty, unread)


class _Grid:
    """The run at each row, and at each key, of one sequence; all masks share it.

    Args:
        runs: of the sequence.
        rows: its last positions, which are the queries.
    """

    def __init__(self, runs: Runs, rows: int):
        keys = int(runs.end[-1])
        self._runs = runs.cut(keys - rows)
        begin = int(np.searchsorted(self._runs.start, keys - rows))
        count = len(self._runs.start)
        self._begin, self._causal = begin, np.tri(count, dtype=bool)[begin:]
        sizes = self._runs.end - self._runs.start
        self._run_of_key = torch.from_numpy(np.repeat(np.arange(count), sizes))
        self._run_of_row = self._run_of_key[keys - rows :] - begin
        # Within a run, keys behind a row.
        self._behind = _behind(rows, keys)

    def edges(self, table: np.ndarray) -> np.ndarray:
        """Which runs of rows read which runs, under a table `[R, R]`; bool."""
        found: np.ndarray = self._runs.allowed(table)[self._begin :] & self._causal
        return found

    def is_plain(self, edges: np.ndarray) -> bool:
        """Whether nothing is removed."""
        return bool((edges == self._causal).all())

    def bias(self, edges: np.ndarray) -> Tensor:
        """See `Mask`; float32 `[rows, keys]`."""
        kept = edges | ~edges.any(1, keepdims=True)
        bias = torch.from_numpy(np.where(kept, np.float32(0), np.float32(-np.inf)))
        wide = bias.index_select(1, self._run_of_key)
        return wide.index_select(0, self._run_of_row).add_(self._behind)

    # A run that reads itself gives each of its rows, and each of its keys, at least itself.

    def empty(self, edges: np.ndarray) -> Tensor:
        """See `Mask`; bool `[rows, 1]`."""
        return torch.from_numpy(~edges.any(1))[self._run_of_row, None]

    def unread(self, edges: np.ndarray) -> Tensor:
        """See `Mask`; bool `[keys, 1]`."""
        return torch.from_numpy(~edges.any(0))[self._run_of_key, None]


def _behind(rows: int, keys: int) -> Tensor:
    """What removes the keys behind each of the last rows; float32 `[rows, keys]`."""
    return _triangle(1 << (keys - 1).bit_length())[keys - rows : keys, :keys]


@lru_cache(maxsize=4)
def _triangle(size: int) -> Tensor:
    return torch.full((size, size), -torch.inf).triu_(1)


def _order(layout: Layout) -> list[int]:
    """Which of the distinct sequences each batch row has."""
    order = [0] * layout.shape[0]
    for index, (members, _) in enumerate(layout.rows):
        for member in members:
            order[member] = index
    return order


@lru_cache(maxsize=16)
def _grids(layout: Layout, rows: int) -> list[_Grid]:
    """Of the distinct sequences of a layout."""
    return [_Grid(runs, rows) for _, runs in layout.rows]
