"""PyTorch's FlexAttention under a layout: a kernel that is not ours, to compare with.

It has a gradient on GPUs, and kernels for devices that ours was not tuned for. It compiles on its
first call, and again for other kinds of shapes, which takes seconds: `auto` never chooses it.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from prune.kernels.segment_attention.layout import NONE, Layout, ReachTable, Runs

BLOCK = 128
"""Rows, and keys, of a block; FlexAttention skips those without an edge."""


def flex_segment_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
    need_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attention `[B, Hq, Sq, D]`, and the LSE `[B, Hq, Sq]` if `need_lse`, else None.

    Arguments are as in `segment_attention`, which validates them.

    Raises:
        NotImplementedError: `need_lse` on a CPU.
    """
    if need_lse and not q.is_cuda:
        raise NotImplementedError("impl='flex' gives an LSE on GPUs alone; use impl='sdpa' here")
    heads, kv_heads = q.shape[1], k.shape[1]
    edges = _edges(layout, q.shape[2], reach, heads // kv_heads, q.device)
    if edges.unread is not None:
        # A weight of 0 times NaN is NaN.
        k, v = k.masked_fill(edges.unread, 0), v.masked_fill(edges.unread, 0)
    run: Any = _compiled()
    out, aux = run(
        q,
        k,
        v,
        block_mask=edges.blocks,
        scale=scale,
        enable_gqa=heads != kv_heads,
        return_aux=AuxRequest(lse=need_lse),
    )
    return out, aux.lse if need_lse else None


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)


@dataclass(frozen=True, eq=False)
class _Edges:
    """The edges of a layout.

    Attributes:
        blocks: which blocks have edges, and which of them all, with the mask for the others.
        unread: bool `[B, Hkv or 1, Sk, 1]`, keys that no row reads; None if there are none.
    """

    blocks: BlockMask
    unread: Tensor | None


@lru_cache(maxsize=32)
def _edges(
    layout: Layout, rows: int, reach: ReachTable, per_kv_head: int, device: torch.device
) -> _Edges:
    batch, keys = layout.shape
    runs = {member: found for members, found in layout.rows for member in members}
    parts = [[_Part.of(runs[b], table, rows) for table in reach.values] for b in range(batch)]
    shared = len(reach.values) == 1

    def whole(name: str, heads: int) -> Tensor:
        stacked = torch.from_numpy(np.array([[getattr(p, name) for p in row] for row in parts]))
        return (stacked if shared else stacked.repeat_interleave(heads, 1)).to(device)

    some, full, unread = whole("some", per_kv_head), whole("full", per_kv_head), whole("unread", 1)
    blocks = BlockMask.from_kv_blocks(
        *_listed(some & ~full),
        *_listed(full),
        BLOCK_SIZE=BLOCK,
        mask_mod=_mask_mod(layout, rows, reach, per_kv_head, device),
        seq_lengths=(rows, keys),
    )
    return _Edges(blocks, unread[..., None] if unread.any() else None)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of rows has, and which: int32 `[..., Q]`, `[..., Q, K]`.

    Args:
        chosen: bool `[..., Q, K]`.
    """
    order = chosen.int().argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), order.int().contiguous()


@dataclass(frozen=True)
class _Part:
    """Of one sequence and KV head.

    Attributes:
        some, full: bool `[Q, K]`, whether a block has edges, and whether it has all.
        unread: bool `[Sk]`.
    """

    some: np.ndarray
    full: np.ndarray
    unread: np.ndarray

    @staticmethod
    def of(runs: Runs, table: np.ndarray, rows: int) -> "_Part":
        """Of the last `rows` positions, which are the queries."""
        keys = int(runs.end[-1])
        behind = keys - rows
        runs = runs.cut(behind)
        allowed = runs.allowed(table)
        query = runs.start >= behind
        row_start, row_end = _bounds(rows)
        key_start, key_end = _bounds(keys)
        in_rows = _overlap(row_start + behind, row_end + behind, runs)
        in_keys = _overlap(key_start, key_end, runs)
        # A product of booleans asks whether there is such a pair of runs.
        causal = key_start <= (row_end + behind - 1)[:, None]
        before = key_end <= (row_start + behind + 1)[:, None]
        whole = (row_end - row_start == BLOCK)[:, None] & (key_end - key_start == BLOCK)
        read = (allowed & np.tri(len(query), dtype=bool))[query].any(0)
        return _Part(
            (in_rows @ allowed @ in_keys.T) & causal,
            ~(in_rows @ ~allowed @ in_keys.T) & before & whole,
            np.repeat(~read, runs.end - runs.start),
        )


def _bounds(length: int) -> tuple[np.ndarray, np.ndarray]:
    """First position of every block, and one past its last."""
    start = np.arange(0, length, BLOCK)
    return start, np.minimum(start + BLOCK, length)


def _overlap(start: np.ndarray, end: np.ndarray, runs: Runs) -> np.ndarray:
    """Which runs each block holds a part of: bool `[blocks, N]`."""
    overlap: np.ndarray = (runs.start < end[:, None]) & (runs.end > start[:, None])
    return overlap


def _mask_mod(
    layout: Layout, rows: int, reach: ReachTable, per_kv_head: int, device: torch.device
) -> Any:
    """Whether a query reads a key, from their places: the definition of `allowed_edges`."""
    roles, frames = (x.to(device) for x in layout.tensors)
    # Padding takes one more role, whose edges do not exist.
    tables = torch.nn.functional.pad(reach.tensor, (0, 1, 0, 1), value=NONE).to(device)
    roles = roles.long().where(roles >= 0, tables.shape[-1] - 1)
    behind, groups = layout.shape[1] - rows, len(tables)

    def reads(b: Tensor, h: Tensor, row: Tensor, key: Tensor) -> Tensor:
        query = row + behind
        framed = (frames[b, query] >= 0) & (frames[b, key] >= 0)
        distance = torch.where(framed, (frames[b, query] - frames[b, key]).abs(), 0)
        table = h // per_kv_head if groups > 1 else 0
        reach = tables[table, roles[b, query], roles[b, key]]
        farthest = torch.where(reach < 0, ~reach, reach)
        return (key <= query) & (distance <= farthest) & ((distance > 0) | (reach >= 0))

    return reads
