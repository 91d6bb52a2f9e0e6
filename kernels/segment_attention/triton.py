"""The Triton kernel: one program per (query tile, head) for prefill and decode; forward only."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from prune.kernels.segment_attention.configs import Config, config_for
from prune.kernels.segment_attention.layout import Layout, ReachTable
from prune.kernels.segment_attention.worklist import ITEM_FIELDS, MERGE_FIELDS, work_list


@triton.jit
def _keys(
    base, stride, key, end, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Load `[BLOCK_N, BLOCK_D]` of K or V from position `key`; zeros past `end` and past `D`.

    64 bits for the tile, 32 inside it: that many fewer registers are live in the loop.
    """
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    pointers = base + key * stride + (n[:, None] * stride.to(tl.int32) + d[None, :])
    return tl.load(pointers, mask=(key + n[:, None] < end) & (d[None, :] < D), other=0.0)


@triton.jit
def _update(acc, m, total, scores, v, PRECISION: tl.constexpr):
    """One step of the online softmax over `scores` `[BLOCK_M, BLOCK_N]` in base 2."""
    m_new = tl.maximum(m, tl.max(scores, 1))
    # A row that has read nothing yet has m = -inf, and -inf - -inf is NaN.
    shift = tl.where(m_new == float("-inf"), 0.0, m_new)
    weights = tl.exp2(scores - shift[:, None])
    decay = tl.exp2(m - shift)
    total = total * decay + tl.sum(weights, 1)
    acc = acc * decay[:, None]
    acc = tl.dot(weights.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, m_new, total


@triton.jit(
    do_not_specialize=[
        "stride_qb", "stride_qh", "stride_qs", "stride_kb", "stride_kh", "stride_ks",
        "stride_vb", "stride_vh", "stride_vs", "stride_ob", "stride_oh", "stride_os",
        "scale_log2", "num_heads", "num_queries", "num_keys", "heads_per_kv", "tiles_per_group",
        "num_roles", "table_stride",
    ]
)  # fmt: skip
def segment_kernel(
    Q, K, V, OUT, LSE, PART_OUT, PART_LSE, ROLE, FRAME, REACH, ITEMS, SPANS,
    stride_qb: tl.int64, stride_qh: tl.int64, stride_qs: tl.int64,
    stride_kb: tl.int64, stride_kh: tl.int64, stride_ks: tl.int64,
    stride_vb: tl.int64, stride_vh: tl.int64, stride_vs: tl.int64,
    stride_ob: tl.int64, stride_oh: tl.int64, stride_os: tl.int64,
    scale_log2: tl.float32,
    num_heads: tl.int32, num_queries: tl.int32, num_keys: tl.int32,
    heads_per_kv: tl.int32, tiles_per_group: tl.int32,
    num_roles: tl.int32, table_stride: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, PACK: tl.constexpr,
    BLOCK_N: tl.constexpr, TABLE_N: tl.constexpr, ALIGN: tl.constexpr, FIELDS: tl.constexpr,
    PRECISION: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Attend one item of the work list for one head, or for `PACK` query heads of one KV head.

    `ITEMS`, `SPANS` and their meaning: `worklist.py`. Strides may exceed 32
    bits, and are passed in units of `ALIGN` elements: the compiler sees the factor and makes the
    loads 16 bytes wide, without a variant for every combination of divisible strides.
    """
    program = tl.program_id(0)
    item = ITEMS + (program // tiles_per_group) * FIELDS
    batch = tl.load(item).to(tl.int64)
    group = tl.load(item + 1)
    row = tl.load(item + 2)
    rows = tl.load(item + 3)
    window = tl.load(item + 4)
    window_end = tl.load(item + 5)
    full = tl.load(item + 6)
    full_end = tl.load(item + 7)
    table = tl.load(item + 8)
    table_end = tl.load(item + 9)
    own = tl.load(item + 10)
    slot = tl.load(item + 11)

    # The interpreter infers an integer's width from its value, not from its annotation.
    stride_qb = stride_qb.to(tl.int64) * ALIGN
    stride_qh = stride_qh.to(tl.int64) * ALIGN
    stride_qs = stride_qs.to(tl.int64) * ALIGN
    stride_kb = stride_kb.to(tl.int64) * ALIGN
    stride_kh = stride_kh.to(tl.int64) * ALIGN
    stride_ks = stride_ks.to(tl.int64) * ALIGN
    stride_vb = stride_vb.to(tl.int64) * ALIGN
    stride_vh = stride_vh.to(tl.int64) * ALIGN
    stride_vs = stride_vs.to(tl.int64) * ALIGN
    stride_ob = stride_ob.to(tl.int64) * ALIGN
    stride_oh = stride_oh.to(tl.int64) * ALIGN
    stride_os = stride_os.to(tl.int64) * ALIGN

    # With PACK == 1 a tile is rows of one head; otherwise it holds all query heads of a KV head.
    tile = group * tiles_per_group + program % tiles_per_group
    if PACK == 1:
        first_head = tile
        packed = 1
    else:
        first_head = tile * heads_per_kv
        packed = heads_per_kv
    kv_head = (first_head // heads_per_kv).to(tl.int64)

    lane = tl.arange(0, BLOCK_Q * PACK)
    nth = lane % BLOCK_Q
    head = first_head + lane // BLOCK_Q
    valid = (nth < rows) & (lane // BLOCK_Q < packed)
    query = row + nth
    position = query + (num_keys - num_queries)
    d = tl.arange(0, BLOCK_D)

    q_at = Q + batch * stride_qb + head.to(tl.int64) * stride_qh + query.to(tl.int64) * stride_qs
    q = tl.load(q_at[:, None] + d[None, :], mask=valid[:, None] & (d[None, :] < D), other=0.0)
    k_base = K + batch * stride_kb + kv_head * stride_kh
    v_base = V + batch * stride_vb + kv_head * stride_vh

    acc = tl.zeros([BLOCK_Q * PACK, BLOCK_D], tl.float32)
    m = tl.full([BLOCK_Q * PACK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q * PACK], tl.float32)

    # Full spans, and last the tile's own keys: whole tiles below every row, then a masked rest.
    row_position = row + (num_keys - num_queries)
    for i in range(full, full_end + 1):
        if i < full_end:
            begin = tl.load(SPANS + 2 * i)
            end = tl.load(SPANS + 2 * i + 1)
            unmasked = end
        else:
            begin = own
            end = row_position + rows
            unmasked = row_position
        begin = tl.maximum(begin, window)
        end = tl.minimum(end, window_end)
        for key in tl.range(begin, end, BLOCK_N, num_stages=STAGES):
            k = _keys(k_base, stride_ks, key, end, D, BLOCK_D, BLOCK_N)
            v = _keys(v_base, stride_vs, key, end, D, BLOCK_D, BLOCK_N)
            scores = tl.dot(q, k.T, input_precision=PRECISION) * scale_log2
            if key + BLOCK_N > tl.minimum(unmasked, end):
                n = key + tl.arange(0, BLOCK_N)
                seen = (n[None, :] < end) & (n[None, :] <= position[:, None])
                scores = tl.where(seen, scores, float("-inf"))
            acc, m, total = _update(acc, m, total, scores, v, PRECISION)

    # Spans that only some rows read: several short groups share the tile.
    if table < table_end:
        tokens = batch * num_keys
        role_q = tl.load(ROLE + tokens + position, mask=valid, other=-1).to(tl.int32)
        frame_q = tl.load(FRAME + tokens + position, mask=valid, other=-1)
        reach = REACH + kv_head * table_stride
        for i in range(table, table_end):
            begin = tl.maximum(tl.load(SPANS + 2 * i), window)
            end = tl.minimum(tl.load(SPANS + 2 * i + 1), window_end)
            for key in tl.range(begin, end, TABLE_N, num_stages=1):
                n = key + tl.arange(0, TABLE_N)
                role_k = tl.load(ROLE + tokens + n, mask=n < end, other=-1).to(tl.int32)
                frame_k = tl.load(FRAME + tokens + n, mask=n < end, other=-1)
                real = (role_q[:, None] >= 0) & (role_k[None, :] >= 0)
                entry = role_q[:, None] * num_roles + role_k[None, :]
                largest = tl.load(reach + entry, mask=real, other=-1)
                framed = (frame_q[:, None] >= 0) & (frame_k[None, :] >= 0)
                distance = tl.where(framed, tl.abs(frame_q[:, None] - frame_k[None, :]), 0)
                seen = real & (distance <= largest) & (n[None, :] <= position[:, None])
                k = _keys(k_base, stride_ks, key, end, D, BLOCK_D, TABLE_N)
                v = _keys(v_base, stride_vs, key, end, D, BLOCK_D, TABLE_N)
                scores = tl.dot(q, k.T, input_precision=PRECISION) * scale_log2
                scores = tl.where(seen, scores, float("-inf"))
                acc, m, total = _update(acc, m, total, scores, v, PRECISION)

    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    out = acc / total[:, None]
    lse = tl.where(empty, float("-inf"), (m + tl.log2(total)) * 0.6931471805599453)
    stored = valid[:, None] & (d[None, :] < D)
    if slot < 0:
        out_at = OUT + batch * stride_ob + head.to(tl.int64) * stride_oh
        out_at += query.to(tl.int64) * stride_os
        tl.store(out_at[:, None] + d[None, :], out.to(OUT.dtype.element_ty), mask=stored)
        tl.store(LSE + (batch * num_heads + head) * num_queries + query, lse, mask=valid)
    else:
        # [slots, heads of a group, BLOCK_Q, D]
        in_group = (program % tiles_per_group) * packed + lane // BLOCK_Q
        part = (slot.to(tl.int64) * tiles_per_group * packed + in_group) * BLOCK_Q + nth
        tl.store(PART_OUT + part[:, None] * D + d[None, :], out, mask=stored)
        tl.store(PART_LSE + part, lse, mask=valid)


@triton.jit(
    do_not_specialize=[
        "stride_ob", "stride_oh", "stride_os", "num_heads", "num_queries", "heads_per_group",
    ]
)  # fmt: skip
def merge_kernel(
    OUT, LSE, PART_OUT, PART_LSE, MERGES,
    stride_ob: tl.int64, stride_oh: tl.int64, stride_os: tl.int64,
    num_heads: tl.int32, num_queries: tl.int32, heads_per_group: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, ROWS: tl.constexpr,
    ALIGN: tl.constexpr, FIELDS: tl.constexpr,
):  # fmt: skip
    """Merge the partial results of `ROWS` rows of one cut tile and head, always in slot order."""
    merge = MERGES + (tl.program_id(0) // heads_per_group) * FIELDS
    batch = tl.load(merge).to(tl.int64)
    group = tl.load(merge + 1)
    row = tl.load(merge + 2)
    rows = tl.load(merge + 3)
    slot = tl.load(merge + 4)
    slot_end = tl.load(merge + 5)
    stride_ob = stride_ob.to(tl.int64) * ALIGN
    stride_oh = stride_oh.to(tl.int64) * ALIGN
    stride_os = stride_os.to(tl.int64) * ALIGN

    in_group = tl.program_id(0) % heads_per_group
    head = group * heads_per_group + in_group
    nth = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    valid = nth < rows
    d = tl.arange(0, BLOCK_D)
    mask = valid[:, None] & (d[None, :] < D)

    acc = tl.zeros([ROWS, BLOCK_D], tl.float32)
    m = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    part = (slot.to(tl.int64) * heads_per_group + in_group) * BLOCK_Q + nth
    for _ in range(slot, slot_end):
        lse = tl.load(PART_LSE + part, mask=valid, other=float("-inf"))
        out = tl.load(PART_OUT + part[:, None] * D + d[None, :], mask=mask, other=0.0)
        m_new = tl.maximum(m, lse)
        shift = tl.where(m_new == float("-inf"), 0.0, m_new)
        weight = tl.exp(lse - shift)
        decay = tl.exp(m - shift)
        acc = acc * decay[:, None] + out * weight[:, None]
        total = total * decay + weight
        m = m_new
        part += heads_per_group * BLOCK_Q
    empty = total == 0.0
    total = tl.where(empty, 1.0, total)
    result = acc / total[:, None]
    query = row + nth
    out_at = OUT + batch * stride_ob + head.to(tl.int64) * stride_oh
    out_at += query.to(tl.int64) * stride_os
    tl.store(out_at[:, None] + d[None, :], result.to(OUT.dtype.element_ty), mask=mask)
    lse = tl.where(empty, float("-inf"), m + tl.log(total))
    tl.store(LSE + (batch * num_heads + head) * num_queries + query, lse, mask=valid)


INTERPRETED = not isinstance(segment_kernel, triton.JITFunction)
"""Whether this process runs the kernels in Triton's interpreter, on CPU tensors."""


def triton_attention(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, reach: ReachTable, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention by the Triton kernel; arguments as in `segment_attention`, which validates them.

    The output has the memory order `[B, Sq, Hq, D]`. Temporary memory is `O(N)`.

    Returns:
        `[B, Hq, Sq, D]` and the LSE, float32 `[B, Hq, Sq]`.
    """
    batch, num_heads, num_queries, head_dim = q.shape
    num_kv_heads = k.shape[1]
    heads_per_kv = num_heads // num_kv_heads
    config = config_for(q.dtype, head_dim, num_queries, heads_per_kv)
    num_groups = len(reach.values)
    # A program holds one query head in prefill, all query heads of a KV head in decode.
    tiles_per_group = (num_heads if config.pack == 1 else num_kv_heads) // num_groups
    heads_per_group = num_heads // num_groups
    work = _on_device(layout, num_queries, reach, config, q.device, _stream(q.device))

    out = q.new_empty(batch, num_queries, num_heads, head_dim).transpose(1, 2)
    lse = q.new_empty(batch, num_heads, num_queries, dtype=torch.float32)
    partial = (work.slots, heads_per_group, config.block_q)
    part_out = q.new_empty(*partial, head_dim, dtype=torch.float32)
    part_lse = q.new_empty(partial, dtype=torch.float32)
    strides = [x.stride(i) for x in (q, k, v, out) for i in range(3)]
    align = _alignment(q, strides)
    strides = [stride // align for stride in strides]
    shape = {"D": head_dim, "BLOCK_D": config.block_d, "BLOCK_Q": config.block_q}

    segment_kernel[(len(work.items) * tiles_per_group,)](
        q, k, v, out, lse, part_out, part_lse, work.role, work.frame, work.reach,
        work.items, work.spans, *strides, scale * math.log2(math.e),
        num_heads, num_queries, k.shape[2], heads_per_kv, tiles_per_group,
        reach.values.shape[1], 0 if num_groups == 1 else reach.values.shape[1] ** 2,
        **shape, PACK=config.pack, BLOCK_N=config.block_n, TABLE_N=config.table_n, ALIGN=align,
        FIELDS=ITEM_FIELDS, PRECISION=config.precision, STAGES=config.num_stages,
        num_warps=config.num_warps,
    )  # fmt: skip
    if len(work.merges):
        rows = min(config.block_q, 16)
        merge_kernel[(len(work.merges) * heads_per_group, config.block_q // rows)](
            out, lse, part_out, part_lse, work.merges, *strides[9:],
            num_heads, num_queries, heads_per_group,
            **shape, ROWS=rows, ALIGN=align, FIELDS=MERGE_FIELDS, num_warps=4,
        )  # fmt: skip
    return out, lse


@dataclass(frozen=True, eq=False)
class _DeviceWork:
    """A work list and what its mask needs, int32 on one device; fields as in `WorkList`."""

    items: Tensor
    spans: Tensor
    merges: Tensor
    role: Tensor
    frame: Tensor
    reach: Tensor
    slots: int


@lru_cache(maxsize=256)
def _on_device(
    layout: Layout,
    num_queries: int,
    reach: ReachTable,
    config: Config,
    device: torch.device,
    stream: int,
) -> _DeviceWork:
    # The stream is part of the key, since another one could read the copy before it has arrived.
    work = work_list(layout, num_queries, reach, config.block_q, config.block_n)
    arrays = (work.items, work.spans, work.merges, layout.role, layout.frame, reach.values)
    # One copy for all. Each array starts at 16 bytes: Triton compiles a variant per alignment.
    padded = [-(-x.size // 4) * 4 for x in arrays]
    host = np.zeros(sum(padded), np.int32)
    views = np.split(host, np.cumsum(padded)[:-1])
    for view, x in zip(views, arrays, strict=True):
        view[: x.size] = x.reshape(-1)
    tensors = torch.from_numpy(host).to(device).split(padded)
    items, spans, merges, role, frame, table = (
        t[: x.size].view(x.shape) for t, x in zip(tensors, arrays, strict=True)
    )
    return _DeviceWork(items, spans, merges, role, frame, table, work.slots)


def _stream(device: torch.device) -> int:
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def _alignment(q: Tensor, strides: list[int]) -> int:
    """Elements in 16 bytes if every stride is a multiple of that, else 1: two variants, no more."""
    width = 16 // q.element_size()
    return width if all(stride % width == 0 for stride in strides) else 1
