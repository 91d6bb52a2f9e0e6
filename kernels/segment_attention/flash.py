"""Backends for one dense or causal attention call with its LSE and its backward pass.

The backward takes the output and LSE *of the whole row*, not of the call: with them the gradients
of several calls over disjoint keys simply add up (the softmax weight of an edge is
`exp(score - LSE)` wherever it was computed).
"""

from functools import cache
from typing import Protocol

import torch
from torch import Tensor

Grads = tuple[Tensor, Tensor, Tensor]


class Flash(Protocol):
    """What a backend provides. Tensors are `[N, H, S, D]`; KV heads may divide query heads.

    Attributes:
        float32: whether it takes float32, so that half precision can be merged before rounding.
    """

    float32: bool

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The output `[N, Hq, Sq, D]` and LSE `[N, Hq, Sq]`; causal needs `Sq == Sk`."""
        ...

    @staticmethod
    def backward(
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        causal: bool,
        scale: float,
    ) -> Grads:
        """The share of these keys in dQ, and their dK and dV."""
        ...


class CpuFlash:
    """The blocked CPU kernel behind `scaled_dot_product_attention`."""

    float32 = True

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        """See `Flash.forward`."""
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, scale=scale
        )
        return out, lse

    @staticmethod
    def backward(
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        causal: bool,
        scale: float,
    ) -> Grads:
        """See `Flash.backward`."""
        dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, out, lse, 0.0, causal, scale=scale
        )
        return dq, dk, dv


class CudaFlash:
    """FlashAttention-2 as PyTorch ships it: half precision, `D` a multiple of 8 up to 256."""

    float32 = False

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        """See `Flash.forward`."""
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q, k, v, 0.0, causal, scale=scale
        )
        return out, lse

    @staticmethod
    def backward(
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        causal: bool,
        scale: float,
    ) -> Grads:
        """See `Flash.backward`."""
        # Without dropout the two Philox tensors are never read.
        unused = torch.empty(0, dtype=torch.int64, device=q.device)
        dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_backward(
            grad,
            q,
            k,
            v,
            out,
            lse,
            None,
            None,
            q.shape[2],
            k.shape[2],
            0.0,
            causal,
            unused,
            unused,
            scale=scale,
        )
        return dq, dk, dv


class Plain:
    """Matrix products and a softmax, a bounded number of rows at a time, on any device and dtype.

    Half precision is computed in float32. Memory is linear in the number of keys.
    """

    float32 = True
    ROWS = 256

    @classmethod
    def forward(
        cls, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        """See `Flash.forward`."""
        dtype = torch.promote_types(q.dtype, torch.float32)
        keys, values = _per_query_head(q, k).to(dtype), _per_query_head(q, v).to(dtype)
        outs, lses = [], []
        for begin, end in cls._chunks(q):
            scores = _scores(q[:, :, begin:end].to(dtype), keys, causal, begin, scale)
            lse = scores.logsumexp(dim=-1)
            weights = (scores - lse[..., None]).exp()
            outs.append((weights @ values[:, :, : scores.shape[-1]]).to(q.dtype))
            lses.append(lse)
        return torch.cat(outs, 2), torch.cat(lses, 2)

    @classmethod
    def backward(
        cls,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        causal: bool,
        scale: float,
    ) -> Grads:
        """See `Flash.backward`."""
        dtype = torch.promote_types(q.dtype, torch.float32)
        keys, values = _per_query_head(q, k).to(dtype), _per_query_head(q, v).to(dtype)
        grad, q_high = grad.to(dtype), q.to(dtype)
        delta = (grad * out.to(dtype)).sum(-1, keepdim=True)
        dq, dk, dv = torch.empty_like(q_high), torch.zeros_like(keys), torch.zeros_like(values)
        for begin, end in cls._chunks(q):
            rows = slice(begin, end)
            scores = _scores(q_high[:, :, rows], keys, causal, begin, scale)
            used = slice(0, scores.shape[-1])
            weights = (scores - lse[:, :, rows, None]).exp()
            dweights = grad[:, :, rows] @ values[:, :, used].transpose(-1, -2)
            dscores = weights * (dweights - delta[:, :, rows]) * scale
            dq[:, :, rows] = dscores @ keys[:, :, used]
            dk[:, :, used] += dscores.transpose(-1, -2) @ q_high[:, :, rows]
            dv[:, :, used] += weights.transpose(-1, -2) @ grad[:, :, rows]
        heads = k.shape[1]
        return (
            dq.to(q.dtype),
            dk.unflatten(1, (heads, -1)).sum(2).to(k.dtype),
            dv.unflatten(1, (heads, -1)).sum(2).to(v.dtype),
        )

    @classmethod
    def _chunks(cls, q: Tensor) -> list[tuple[int, int]]:
        rows = q.shape[2]
        return [(i, min(i + cls.ROWS, rows)) for i in range(0, rows, cls.ROWS)]


def _per_query_head(q: Tensor, x: Tensor) -> Tensor:
    return x if x.shape[1] == q.shape[1] else x.repeat_interleave(q.shape[1] // x.shape[1], dim=1)


def _scores(q: Tensor, k: Tensor, causal: bool, begin: int, scale: float) -> Tensor:
    if not causal:
        return q @ k.transpose(-1, -2) * scale
    end = begin + q.shape[2]
    scores = q @ k[:, :, :end].transpose(-1, -2) * scale
    position = torch.arange(end, device=q.device)
    return scores.masked_fill(position[None, :] > position[begin:, None], float("-inf"))


def backend_for(q: Tensor) -> type[Flash]:
    """The fastest backend for the device, dtype and head dimension of `q`."""
    if q.device.type == "cpu" and _cpu_flash_runs(q.dtype):
        return CpuFlash
    if q.device.type == "cuda" and q.dtype in (torch.float16, torch.bfloat16):
        recent = torch.cuda.get_device_capability(q.device) >= (8, 0)
        if recent and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256:
            return CudaFlash
    return Plain


@cache
def _cpu_flash_runs(dtype: torch.dtype) -> bool:
    # These operators are private, so check that this build still does what we rely on:
    # two query heads on one KV head, and an LSE in nats.
    q, k = torch.ones(1, 2, 1, 8, dtype=dtype), torch.ones(1, 1, 3, 8, dtype=dtype)
    try:
        out, lse = CpuFlash.forward(q, k, k, False, 0.125)
        grads = CpuFlash.backward(q, q, k, k, out, lse, False, 0.125)
    except (RuntimeError, AttributeError, TypeError):
        return False
    expected = torch.full((1, 2, 1), 1 + torch.tensor(3.0).log().item(), dtype=lse.dtype)
    shapes = [tuple(g.shape) for g in grads] == [tuple(q.shape), tuple(k.shape), tuple(k.shape)]
    return shapes and torch.allclose(lse, expected, atol=1e-2) and torch.allclose(out, q)
