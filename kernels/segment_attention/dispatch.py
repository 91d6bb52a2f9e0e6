"""Choice of the implementation: the requested one, or the faster one on this device."""

import os
from functools import cache
from importlib.util import find_spec
from threading import local
from typing import Literal

import torch
from torch import Tensor

from prune.kernels.segment_attention.blocks import density, is_plain_causal, split
from prune.kernels.segment_attention.layout import Layout, ReachTable

Impl = Literal["auto", "reference", "sdpa", "triton", "flex"]
IMPLS = ("auto", "reference", "sdpa", "triton", "flex")

MAX_HEAD_DIM = 256


class _Taken(local):
    """Which implementation the last call in this thread ran."""

    impl: str = "sdpa"


taken = _Taken()

MOST_CHOSEN = 4096

_chosen: dict[tuple[Layout, ReachTable, torch.Size, torch.Size, torch.dtype, torch.device], Impl]
_chosen = {}
"""What `auto` takes for the calls that it has met: at most `MOST_CHOSEN` of them."""

RULE_DENSITY = 0.5
"""Without a measurement, `triton` is taken below this share of the causal edges: its tiles cover up
to twice the edges that they keep, and reach about two thirds of a dense kernel's rate."""


def choose(
    impl: Impl,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
) -> Impl:
    """The implementation to run, never `auto`.

    `auto` is what the environment variable `PRUNE_ATTENTION` names, if it is set. Otherwise plain
    causal layers, and everything that `triton` does not support, go to `sdpa`, and on a GPU the
    faster one is measured at first use (`calibration.py`). With `PRUNE_CALIBRATION=off`, and for a
    class of calls that is met first while a CUDA graph is captured, a rule decides: half precision,
    compute capability 8.0 or newer, less than half of the causal edges.

    Raises:
        ValueError: `impl` or an environment variable has an unknown value.
        NotImplementedError: `triton` or `flex` was asked for and does not support these inputs.
        RuntimeError: `triton` was asked for and cannot run on this machine.
    """
    if impl not in IMPLS:
        raise ValueError(f"impl: expected {', '.join(IMPLS)}, got {impl!r}")
    if impl == "auto":
        impl = _from_environment()
    if impl == "triton":
        _require_triton(q, k, v)
    if impl == "flex":
        _require_flex(q, k, v)
    if impl != "auto":
        return impl
    if not q.is_cuda or not q.numel() or _unsupported(q, k, v) or not _has_triton():
        return "sdpa"
    call = layout, reach, q.shape, k.shape, q.dtype, q.device
    known = _chosen.get(call)
    if known is None:
        known, final = _faster(q, k, v, layout, reach, scale)
        if final:
            if len(_chosen) >= MOST_CHOSEN:
                _chosen.clear()
            _chosen[call] = known
    return known


def _faster(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, reach: ReachTable, scale: float
) -> tuple[Impl, bool]:
    """The faster implementation on a GPU, and whether that is known and not just the rule's."""
    parts = split(layout, q.shape[2], reach)
    if is_plain_causal(parts, q.shape[2], layout.shape[1]):
        return "sdpa", True
    from prune.kernels.segment_attention.calibration import calibration, class_of, measured_choice

    kept = density(parts, layout, q.shape[2])
    name = class_of(q, k, kept)
    found = calibration(q.device.index).choices.get(name)
    if found is None and calibrates() and not torch.cuda.is_current_stream_capturing():
        found = measured_choice(name, q, k, v, layout, reach, scale)
    if found is not None:
        return found.impl, True
    return rule(q.dtype, torch.cuda.get_device_capability(q.device), kept), False


def rule(dtype: torch.dtype, capability: tuple[int, int], density: float) -> Impl:
    """The choice without a measurement.

    Args:
        capability: compute capability of the GPU.
        density: share of the causal edges that is kept.
    """
    fits = dtype.itemsize == 2 and capability >= (8, 0)
    return "triton" if fits and density < RULE_DENSITY else "sdpa"


def calibrates() -> bool:
    """Whether `auto` may measure: `PRUNE_CALIBRATION` is `on`, as without it, or `off`.

    Raises:
        ValueError: it is something else.
    """
    value = os.environ.get("PRUNE_CALIBRATION", "on")
    if value not in ("on", "off"):
        raise ValueError(f"PRUNE_CALIBRATION: expected on or off, got {value!r}")
    return value == "on"


def _from_environment() -> Impl:
    value = os.environ.get("PRUNE_ATTENTION", "auto")
    for impl in IMPLS:
        if value == impl:
            return impl  # type: ignore[return-value]
    raise ValueError(f"PRUNE_ATTENTION: expected {', '.join(IMPLS)}, got {value!r}")


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


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
    if not _has_triton():
        raise RuntimeError("impl='triton' needs the triton package, which is not installed")
    from prune.kernels.segment_attention.programs import INTERPRETED

    if INTERPRETED == q.is_cuda:
        expected = "tensors on the CPU, with TRITON_INTERPRET=1" if INTERPRETED else "a CUDA device"
        raise RuntimeError(f"impl='triton' needs {expected}; q is on {q.device}")
    if INTERPRETED and q.dtype == torch.bfloat16:
        raise NotImplementedError(
            "impl='triton' does not support bfloat16 in Triton's interpreter: it rounds otherwise"
        )


def _require_flex(q: Tensor, k: Tensor, v: Tensor) -> None:
    if q.dtype == torch.float64:
        raise NotImplementedError("impl='flex' does not support float64")
    if not q.is_cuda and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        raise NotImplementedError("impl='flex' has gradients on GPUs alone; use impl='sdpa' here")
