"""The operation as torch.compile sees it: one opaque operator, with shapes and a gradient."""

from typing import cast

import torch
from torch import Tensor

from prune.kernels.segment_attention.dispatch import Impl


@torch.library.custom_op("prune::segment_attention", mutates_args=())
def operator(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """`segment_attention` with `return_lse`; the output is contiguous."""
    from prune.kernels.segment_attention.api import segment_attention

    with torch.no_grad():
        chosen = cast(Impl, impl)
        out, lse = segment_attention(q, k, v, role, frame, reach, scale, chosen, return_lse=True)
    return out.contiguous(), lse.contiguous()


@operator.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    lse = q.new_empty(q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32))
    return torch.empty_like(q, memory_format=torch.contiguous_format), lse


@torch.library.custom_op("prune::segment_attention_backward", mutates_args=())
def backward_operator(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, by `sdpa`, which runs forward once more."""
    from prune.kernels.segment_attention.api import segment_attention

    with torch.enable_grad():
        q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
        out = segment_attention(q, k, v, role, frame, reach, scale, "sdpa")
        dq, dk, dv = torch.autograd.grad(out, (q, k, v), grad)
    return dq.contiguous(), dk.contiguous(), dv.contiguous()


@backward_operator.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    return dq, dk, dv


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:  # type: ignore[type-arg]
    *tensors, scale, _ = inputs
    ctx.save_for_backward(*tensors)
    ctx.scale = scale  # type: ignore[attr-defined]


def _gradient(
    ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # type: ignore[attr-defined]
    grads = backward_operator(grad, *saved, ctx.scale)  # type: ignore[attr-defined]
    return (*grads, None, None, None, None, None)


operator.register_autograd(_gradient, setup_context=_save)
