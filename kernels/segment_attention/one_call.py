"""One masked SDPA call, for inputs so small that several calls cost more than they skip."""

from dataclasses import dataclass
from functools import lru_cache

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
    if mask.unread is not None:
        k, v = k.masked_fill(mask.unread, 0), v.masked_fill(mask.unread, 0)
    out = F.scaled_dot_product_attention(
        q,
        k,
        v,
        mask.bias,
        is_causal=mask.bias is None and rows > 1,
        scale=scale,
        enable_gqa=heads != kv_heads,
    )
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
    keys = layout.shape[1]
    first = keys - rows
    found = [
        [_of_runs(runs.cut(first), table, first) for table in reach.values]
        for _, runs in layout.rows
    ]
    if rows in (1, keys) and all(part.plain for row in found for part in row):
        return Mask(None, None, None)
    bias = _stacked(found, "bias")
    bias += _causal(rows, keys)
    empty, unread = _stacked(found, "empty"), _stacked(found, "unread")
    if has_empty := bool(empty.any()):
        bias.masked_fill_(empty, 0)
    if len(layout.rows) > 1:
        order = torch.empty(layout.shape[0], dtype=torch.long)
        for index, (members, _) in enumerate(layout.rows):
            order[list(members)] = index
        bias, empty, unread = bias[order], empty[order], unread[order]
    if len(reach.values) > 1:
        bias, empty = (x.repeat_interleave(per_kv_head, 1) for x in (bias, empty))
    return Mask(
        bias.to(device, dtype),
        empty.to(device) if has_empty else None,
        unread.to(device) if unread.any() else None,
    )


@lru_cache(maxsize=4)
def _causal(rows: int, keys: int) -> Tensor:
    """What forbids the keys behind each of the last `rows` positions."""
    return torch.full((rows, keys), -torch.inf).triu_(keys - rows + 1)


@dataclass(frozen=True)
class _Part:
    """Of one sequence and head, as in `Mask`, but for causality within a run; `[rows, keys]`."""

    plain: bool
    bias: Tensor
    empty: Tensor
    unread: Tensor


def _of_runs(runs: Runs, table: np.ndarray, first: int) -> _Part:
    """The edges of queries from position `first` on."""
    query = runs.start >= first
    causal = np.tri(len(query), dtype=bool)
    allowed = runs.allowed(table) & causal
    run_of = torch.from_numpy(np.repeat(np.arange(len(query)), runs.end - runs.start))
    rows = run_of[first:]
    bias = torch.zeros(allowed.shape).masked_fill_(torch.from_numpy(~allowed), -torch.inf)
    # A run that reads itself gives each of its rows, and each of its keys, at least the diagonal.
    return _Part(
        bool((allowed == causal)[query].all()),
        bias.index_select(1, run_of).index_select(0, rows),
        torch.from_numpy(~allowed.any(1))[rows, None],
        torch.from_numpy(~allowed[query].any(0))[run_of, None],
    )


def _stacked(found: list[list[_Part]], name: str) -> Tensor:
    """One tensor of every part, `[sequences, heads, ...]`."""
    return torch.stack([torch.stack([getattr(part, name) for part in row]) for row in found])
