"""Choice of the implementation: the requested one, or the fastest one measured."""

from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from prune.kernels.segment_attention.blocks import density, is_plain_causal, split
from prune.kernels.segment_attention.layout import Layout, ReachTable

Impl = Literal["auto", "reference", "sdpa", "triton"]
IMPLS = ("auto", "reference", "sdpa", "triton")

TRITON_BELOW_DENSITY: dict[str, float] = {}
"""Device name (`torch.cuda.get_device_name`): the density of a layer below which `triton` was
measured faster than `sdpa`, by `benchmarks/attention.py`. On a device that is not listed, `auto`
never picks `triton`."""

MAX_HEAD_DIM = 256


def choose(impl: Impl, q: Tensor, k: Tensor, v: Tensor, layout: Layout, reach: ReachTable) -> Impl:
    """The implementation to run, never `auto`.

    Plain causal layers go to `sdpa`, which is then one ordinary causal SDPA call.

    Raises:
        ValueError: `impl` is unknown.
        NotImplementedError: `triton` was asked for and does not support these inputs.
        RuntimeError: `triton` was asked for and cannot run on this machine.
    """
    if impl not in IMPLS:
        raise ValueError(f"impl: expected {', '.join(IMPLS)}, got {impl!r}")
    if impl == "triton":
        _require_triton(q, k, v)
    if impl != "auto":
        return impl
    if not q.is_cuda or _unsupported(q, k, v) or not find_spec("triton"):
        return "sdpa"
    limit = TRITON_BELOW_DENSITY.get(torch.cuda.get_device_name(q.device), 0.0)
    parts = split(layout, q.shape[2], reach)
    plain = is_plain_causal(parts, q.shape[2], k.shape[2])
    if plain or density(parts, layout, q.shape[2]) >= limit:
        return "sdpa"
    return "triton"


def _unsupported(q: Tensor, k: Tensor, v: Tensor) -> str | None:
    if q.dtype == torch.float64:
        return "float64"
    if q.shape[-1] > MAX_HEAD_DIM:
        return f"head_dim {q.shape[-1]} (at most {MAX_HEAD_DIM})"
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        return "gradients: it is forward only; use impl='sdpa', or torch.no_grad()"
    return None


def _require_triton(q: Tensor, k: Tensor, v: Tensor) -> None:
    reason = _unsupported(q, k, v)
    if reason:
        raise NotImplementedError(f"impl='triton' does not support {reason}")
    if not find_spec("triton"):
        raise RuntimeError("impl='triton' needs the triton package, which is not installed")
    from prune.kernels.segment_attention.triton import INTERPRETED

    if INTERPRETED == q.is_cuda:
        expected = "tensors on the CPU, with TRITON_INTERPRET=1" if INTERPRETED else "a CUDA device"
        raise RuntimeError(f"impl='triton' needs {expected}; q is on {q.device}")
