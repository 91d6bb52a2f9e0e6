"""The SDPA implementation: a few ordinary attention calls, on any device, without a mask."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention.bias import causal_lower_right

from prune.kernels.segment_attention.blocks import Block, Part, Span, is_plain_causal, split
from prune.kernels.segment_attention.flash import backend_for
from prune.kernels.segment_attention.layout import Layout, ReachTable
from prune.kernels.segment_attention.one_call import is_small, masked_call

TAIL_ROWS = 256
"""Largest number of rows behind other keys for which a rows x keys mask is built."""


def sdpa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
    need_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attention by blocks, or in one masked call where that is faster.

    Arguments are as in `segment_attention`, which validates them.

    Differentiable in q, k and v. The output has the memory order `[B, Sq, Hq, D]`.

    Returns:
        `[B, Hq, Sq, D]`, and the LSE `[B, Hq, Sq]` if `need_lse`, else None.
    """
    if not need_lse and is_small(q, k, v):
        return masked_call(q, k, v, layout, reach, scale), None
    parts = split(layout, q.shape[2], reach)
    rows, keys = q.shape[2], k.shape[2]
    one_call = rows <= TAIL_ROWS or rows == keys
    if one_call and not need_lse and is_plain_causal(parts, rows, keys):
        return _plain_causal(q, k, v, scale), None
    apply: Callable[..., tuple[Tensor, Tensor]] = _Blocks.apply
    return apply(q, k, v, parts, scale)


def _plain_causal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    rows, keys = q.shape[2], k.shape[2]
    mask: Tensor | None = None
    if 1 < rows < keys:
        # CUDA kernels support this mask natively; the CPU kernel adds it, converting boolean ones.
        mask = causal_lower_right(rows, keys)
        if not q.is_cuda:
            mask = q.new_full((rows, keys), float("-inf")).triu_(keys - rows + 1)
    return F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=rows == keys, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, parts: tuple[Part, ...], scale: float
    ) -> tuple[Tensor, Tensor]:
        batch, heads, rows, dim = q.shape
        out = q.new_empty(batch, rows, heads, dim).transpose(1, 2)
        lse_dtype = torch.promote_types(q.dtype, torch.float32)
        lse = q.new_empty(batch, rows, heads, dtype=lse_dtype).transpose(1, 2)
        for block, (q_part, out_part, lse_part), (k_part, v_part) in _blocks(
            parts, (q, out, lse[..., None]), (k, v), rows
        ):
            _forward(block, q_part, k_part, v_part, out_part, lse_part[..., 0], scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.parts, ctx.scale = parts, scale
        ctx.mark_non_differentiable(lse)
        return out, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        high = torch.promote_types(q.dtype, torch.float32)
        dq = torch.zeros_like(q, dtype=high)
        dk, dv = torch.zeros_like(k, dtype=high), torch.zeros_like(v, dtype=high)
        grad = grad.contiguous()
        for block, query_side, key_side in _blocks(
            ctx.parts, (q, grad, out, lse[..., None], dq), (k, v, dk, dv), q.shape[2]
        ):
            _backward(block, query_side, key_side, ctx.scale)
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None, None


def _blocks(
    parts: tuple[Part, ...],
    query_side: tuple[Tensor, ...],
    key_side: tuple[Tensor, ...],
    num_queries: int,
) -> Iterator[tuple[Block, tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Each block with the views of its batch rows and heads, in query positions.

    A batched block takes the batch dimension for its groups, so it comes once per batch row. So
    does a merged one: elementwise CPU kernels round their last few elements differently, and a
    sequence must not depend on its batch.
    """
    per_kv_head = query_side[0].shape[1] // key_side[0].shape[1]
    for part in parts:
        kv = part.kv_heads
        heads = slice(None) if kv.start is None else _scaled(kv, per_kv_head)
        for block in part.blocks:
            span = part.batch
            together = block.count == 1 and len(_pieces(block)) <= 1
            batch = [span] if together else [slice(b, b + 1) for b in range(span.start, span.stop)]
            for b in batch:
                yield (
                    block,
                    tuple(x[b, heads] for x in query_side),
                    tuple(x[b, kv] for x in key_side),
                )


def _scaled(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


def _pieces(block: Block) -> list[tuple[tuple[Span, ...], bool, bool]]:
    """The calls of a block: key spans, whether causal, whether its rows form one long sequence."""
    pieces: list[tuple[tuple[Span, ...], bool, bool]] = []
    if block.causal:
        pieces.append(((block.rows,), True, False))
    if block.static:
        adjacent = block.count > 1 and block.rows.step == block.rows.length
        pieces.append((block.static, False, adjacent))
    if block.sliding:
        pieces.append((block.sliding, False, False))
    return pieces


def _forward(
    block: Block, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float
) -> None:
    """Attend the rows of one block and write them into `out` and `lse`."""
    shift = k.shape[2] - q.shape[2]
    rows = _shifted(block.rows, -shift)
    out, lse = _take(out, rows, block.count), _take(lse[..., None], rows, block.count)[..., 0]
    flash = backend_for(q)
    # Where several calls are merged, half precision would be rounded once per call.
    pieces = _pieces(block)
    promote = len(pieces) > 1 and flash.float32
    dtype = torch.promote_types(q.dtype, torch.float32) if promote else q.dtype
    best: tuple[Tensor, Tensor] | None = None
    for spans, causal, adjacent in pieces:
        rows_q = _take(q, rows, block.count, adjacent).to(dtype)
        keys, values = (_keys(x, spans, block.count, adjacent).to(dtype) for x in (k, v))
        piece = flash.forward(rows_q, keys, values, causal, scale)
        if len(pieces) > 1:
            piece = (piece[0].to(lse.dtype), piece[1])
        if adjacent:
            piece = (_split(piece[0], block.count), _split(piece[1], block.count))
        best = piece if best is None else _merge(best, piece)
    if best is None:
        out.zero_()
        lse.fill_(float("-inf"))
    else:
        out.copy_(best[0])
        lse.copy_(best[1])


def _merge(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Attention over the union of two disjoint key sets."""
    weight = torch.sigmoid(a[1] - b[1]).to(a[0].dtype)
    return torch.lerp(b[0], a[0], weight[..., None]), torch.logaddexp(a[1], b[1])


def _backward(
    block: Block, query_side: tuple[Tensor, ...], key_side: tuple[Tensor, ...], scale: float
) -> None:
    q, grad, out, lse, dq = query_side
    k, v, dk, dv = key_side
    rows = _shifted(block.rows, q.shape[2] - k.shape[2])
    flash = backend_for(q)
    # A key's gradient is a sum over blocks: in half precision each share would be rounded.
    dtype = dq.dtype if flash.float32 else q.dtype
    for spans, causal, adjacent in _pieces(block):
        rows_q, rows_grad, rows_out = (
            _take(x, rows, block.count, adjacent).to(dtype) for x in (q, grad, out)
        )
        rows_lse = _take(lse, rows, block.count, adjacent)[..., 0]
        keys, values = (_keys(x, spans, block.count, adjacent).to(dtype) for x in (k, v))
        shares = flash.backward(rows_grad, rows_q, keys, values, rows_out, rows_lse, causal, scale)
        _take(dq, rows, block.count, adjacent).add_(shares[0])
        for total, share in zip((dk, dv), shares[1:], strict=True):
            _add_keys(total, spans, block.count, adjacent, share)


def _shifted(span: Span, offset: int) -> Span:
    return Span(span.start + offset, span.length, span.step)


def _take(x: Tensor, span: Span, count: int, adjacent: bool = False) -> Tensor:
    """A view of `x` `[N, H, S, D]`.

    `[N, H, length, D]` for one group; `[count, H, length, D]` for several, `N` being 1; all their
    rows in one sequence, `[1, H, count * length, D]`, if `adjacent`.
    """
    extent = (count - 1) * span.step + span.length
    x = x.narrow(2, span.start, extent)
    if count == 1 or adjacent:
        return x
    return x[0].unfold(1, span.length, span.step).permute(1, 0, 3, 2)


def _positions(x: Tensor, span: Span) -> Tensor:
    """A view `[N, H, pieces, length, D]` of what all groups share of `x` `[N, H, S, D]`."""
    x = x.narrow(2, span.start, (span.pieces - 1) * span.apart + span.length)
    return x.unfold(2, span.length, span.apart or span.length).transpose(3, 4)


def _split(x: Tensor, count: int) -> Tensor:
    """`[1, H, count * length, ...]` as `[count, H, length, ...]`."""
    groups: Tensor = x[0].unflatten(1, (count, -1))
    return groups.transpose(0, 1)


def _keys(x: Tensor, spans: tuple[Span, ...], count: int, adjacent: bool) -> Tensor:
    """The positions of all spans along the key axis, `[N or count, H, total, D]`."""
    taken = []
    for span in spans:
        if span.step:
            taken.append(_take(x, span, count))
        else:
            shared = _positions(x, span).flatten(2, 3)
            taken.append(shared if count == 1 or adjacent else shared.expand(count, -1, -1, -1))
    return taken[0] if len(taken) == 1 else torch.cat(taken, dim=2)


def _add_keys(
    total: Tensor, spans: tuple[Span, ...], count: int, adjacent: bool, share: Tensor
) -> None:
    """Add the gradient of what `_keys` returned. Spans of neighbours may overlap."""
    begin = 0
    for span in spans:
        part = share.narrow(2, begin, span.tokens)
        begin += span.tokens
        if not span.step:
            alone = part if count == 1 or adjacent else part.sum(0, keepdim=True)
            _positions(total, span).add_(alone.unflatten(2, (span.pieces, span.length)))
        elif span.step >= span.length:
            _take(total, span, count).add_(part)
        else:
            for i in range(count):
                total.narrow(2, span.start + i * span.step, span.length).add_(part[i : i + 1])
