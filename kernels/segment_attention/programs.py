"""What one program of the Triton kernels computes: a query tile of a head, or a row's cut parts."""

import triton
import triton.language as tl


@triton.jit
def _whole(
    base, stride, key, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    """Load `[BLOCK_N, BLOCK_D]` of K or V from position `key`; zeros past `D`.

    A row's offset is one product of 32 bits into 64, which takes no register between the steps.
    """
    n = key + tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    pointers = base + n[:, None].to(tl.int64) * stride.to(tl.int32) + d[None, :]
    if D == BLOCK_D:
        return tl.load(pointers)
    return tl.load(pointers, mask=d[None, :] < D, other=0.0)


@triton.jit
def _until(
    base, stride, key, end, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr
):  # fmt: skip
    """As `_whole`, with zeros from position `end` on."""
    n = key + tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    pointers = base + n[:, None].to(tl.int64) * stride.to(tl.int32) + d[None, :]
    return tl.load(pointers, mask=(n[:, None] < end) & (d[None, :] < D), other=0.0)


@triton.jit
def _between(scores, low, high):
    """`scores` `[M, N]` of the columns from `low` to `high`, each `[M]`; -inf in the others.

    A thread's columns are eight apart: in two dimensions their numbers are constants of the code,
    in one they are registers, held through the loop, and so is every comparison.
    """
    M: tl.constexpr = scores.shape[0]
    N: tl.constexpr = scores.shape[1]
    eights = 8 * tl.arange(0, N // 8)
    rest = tl.arange(0, 8)
    low = low[:, None] - rest[None, :]
    high = high[:, None] - rest[None, :]
    seen = (eights[None, :, None] >= low[:, None, :]) & (eights[None, :, None] <= high[:, None, :])
    scores = tl.where(seen, tl.reshape(scores, [M, N // 8, 8]), float("-inf"))
    return tl.reshape(scores, [M, N])


@triton.jit
def _update(acc, m, total, scores, v, scale, MAYBE_EMPTY: tl.constexpr, PRECISION: tl.constexpr):
    """One step of the online softmax over raw `scores` `[BLOCK_M, BLOCK_N]`; `m` is in base 2."""
    m_new = tl.maximum(m, tl.max(scores, 1) * scale)
    if MAYBE_EMPTY:
        # A row that has read nothing yet has m = -inf, and -inf - -inf is NaN.
        shift = tl.where(m_new == float("-inf"), 0.0, m_new)
    else:
        shift = m_new
    weights = tl.exp2(scores * scale - shift[:, None])
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
        "tiles_per_section", "num_items", "num_roles", "table_stride",
    ]
)  # fmt: skip
def segment_kernel(
    Q, K, V, OUT, LSE, PART_OUT, PART_LSE, ROLE, FRAME, REACH, ITEMS, WHOLES, SPANS, BEGINS,
    stride_qb: tl.int64, stride_qh: tl.int64, stride_qs: tl.int64,
    stride_kb: tl.int64, stride_kh: tl.int64, stride_ks: tl.int64,
    stride_vb: tl.int64, stride_vh: tl.int64, stride_vs: tl.int64,
    stride_ob: tl.int64, stride_oh: tl.int64, stride_os: tl.int64,
    scale_log2: tl.float32,
    num_heads: tl.int32, num_queries: tl.int32, num_keys: tl.int32,
    heads_per_kv: tl.int32, tiles_per_group: tl.int32, tiles_per_section: tl.int32,
    num_items: tl.int32, num_roles: tl.int32, table_stride: tl.int32,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, PACK: tl.constexpr,
    BLOCK_N: tl.constexpr, TABLE_N: tl.constexpr, PART_ROWS: tl.constexpr, MIXED: tl.constexpr,
    ALIGN: tl.constexpr, FIELDS: tl.constexpr, PRECISION: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Attend one item of the work list for one head, or for `PACK` query heads of one KV head.

    The items of `tiles_per_section` heads follow each other, so that their keys and values stay in
    the cache. `MIXED` is the variant for items with looked-up steps. The other arrays and what they
    mean: `worklist.py`. Strides may exceed 32 bits, and are passed in units of `ALIGN` elements:
    the compiler sees the factor and makes the loads 16 bytes wide, without a variant for every
    combination of divisible strides. `scale_log2` is positive.
    """
    per_section = num_items * tiles_per_section
    section = tl.program_id(0) // per_section
    in_section = tl.program_id(0) % per_section
    nth_tile = section * tiles_per_section + in_section % tiles_per_section

    item = ITEMS + (in_section // tiles_per_section) * FIELDS
    batch = tl.load(item).to(tl.int64)
    group = tl.load(item + 1)
    begins = tl.load(item + 2)
    row = tl.load(item + 3)
    rows = tl.load(item + 4)
    wholes = tl.load(item + 5)
    num_wholes = tl.load(item + 6)
    whole = tl.load(item + 7)
    whole_end = tl.load(item + 8)
    rests = tl.load(item + 9)
    num_rests = tl.load(item + 10)
    own = tl.load(item + 11)
    own_low = tl.load(item + 12)
    own_whole = tl.load(item + 13)
    masked = tl.load(item + 14)
    masked_end = tl.load(item + 15)

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
    tile = group * tiles_per_group + nth_tile
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

    # Whole steps: of the shared spans, then of the tile's own section.
    for step in tl.range(whole, whole_end, num_stages=STAGES):
        is_shared = step < num_wholes
        key = tl.load(WHOLES + wholes + step, mask=is_shared, other=0)
        key = tl.where(is_shared, key, own + (own_low + step - num_wholes) * BLOCK_N)
        k = _whole(k_base, stride_ks, key, D, BLOCK_D, BLOCK_N)
        v = _whole(v_base, stride_vs, key, D, BLOCK_D, BLOCK_N)
        scores = tl.dot(q, k.T, input_precision=PRECISION)
        acc, m, total = _update(acc, m, total, scores, v, scale_log2, False, PRECISION)

    # Masked steps: the rests of the shared spans, then what is left of the own section.
    row_end = row + rows + (num_keys - num_queries)
    begin = tl.load(BEGINS + begins * num_queries + query, mask=valid, other=0)
    for step in tl.range(masked, masked_end, num_stages=STAGES):
        is_rest = step < num_rests
        span = SPANS + 2 * (rests + step)
        own_step = step - num_rests
        own_step += tl.where(own_step >= own_low, own_whole, 0)
        key = tl.load(span, mask=is_rest, other=0)
        key = tl.where(is_rest, key, own + own_step * BLOCK_N)
        end = tl.load(span + 1, mask=is_rest, other=0)
        end = tl.where(is_rest, end, row_end)
        k = _until(k_base, stride_ks, key, end, D, BLOCK_D, BLOCK_N)
        v = _until(v_base, stride_vs, key, end, D, BLOCK_D, BLOCK_N)
        scores = tl.dot(q, k.T, input_precision=PRECISION)
        low = tl.where(is_rest, 0, begin - key)
        scores = _between(scores, low, tl.minimum(position, end - 1) - key)
        acc, m, total = _update(acc, m, total, scores, v, scale_log2, True, PRECISION)

    # Looked-up steps: several short sections share the tile.
    if MIXED:
        tokens = batch * num_keys
        role_q = tl.load(ROLE + tokens + position, mask=valid, other=-1).to(tl.int32)
        frame_q = tl.load(FRAME + tokens + position, mask=valid, other=-1)
        reach = REACH + kv_head * table_stride
        for step in tl.range(tl.load(item + 16), tl.load(item + 17), num_stages=1):
            key = tl.load(SPANS + 2 * step)
            end = tl.load(SPANS + 2 * step + 1)
            n = key + tl.arange(0, TABLE_N)
            role_k = tl.load(ROLE + tokens + n, mask=n < end, other=-1).to(tl.int32)
            frame_k = tl.load(FRAME + tokens + n, mask=n < end, other=-1)
            real = (role_q[:, None] >= 0) & (role_k[None, :] >= 0)
            entry = role_q[:, None] * num_roles + role_k[None, :]
            limit = tl.load(reach + entry, mask=real, other=-1)
            # `~w` takes the distances from 1 to w: all bits of the sign, 0 or -1.
            sign = limit >> 31
            framed = (frame_q[:, None] >= 0) & (frame_k[None, :] >= 0)
            distance = tl.where(framed, tl.abs(frame_q[:, None] - frame_k[None, :]), 0)
            within = (distance <= (limit ^ sign)) & (distance + sign >= 0)
            seen = real & within & (n[None, :] <= position[:, None])
            k = _until(k_base, stride_ks, key, end, D, BLOCK_D, TABLE_N)
            v = _until(v_base, stride_vs, key, end, D, BLOCK_D, TABLE_N)
            scores = tl.dot(q, k.T, input_precision=PRECISION)
            scores = tl.where(seen, scores, float("-inf"))
            acc, m, total = _update(acc, m, total, scores, v, scale_log2, True, PRECISION)

    # Loaded again, another way so that the compiler does not notice: what follows from them for
    # every row would otherwise be held through the loops, in some fifty registers.
    batch = tl.load(item, cache_modifier=".ca").to(tl.int64)
    row = tl.load(item + 3, cache_modifier=".ca")
    rows = tl.load(item + 4, cache_modifier=".ca")
    slot = tl.load(item + 18)
    query = row + nth
    valid = (nth < rows) & (lane // BLOCK_Q < packed)

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
        # [slots, heads of a group, PART_ROWS, D]
        in_group = nth_tile * packed + lane // BLOCK_Q
        part = (slot.to(tl.int64) * tiles_per_group * packed + in_group) * PART_ROWS + nth
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
    D: tl.constexpr, BLOCK_D: tl.constexpr, PART_ROWS: tl.constexpr, ROWS: tl.constexpr,
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
    part = (slot.to(tl.int64) * heads_per_group + in_group) * PART_ROWS + nth
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
        part += heads_per_group * PART_ROWS
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
