"""The public operation: input validation, then the chosen implementation."""

import math
from functools import lru_cache
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from prune.kernels.segment_attention.compiled import operator
from prune.kernels.segment_attention.dispatch import Impl, choose, taken
from prune.kernels.segment_attention.layout import Layout, ReachTable, prepare, read_reach
from prune.kernels.segment_attention.reference import reference_attention
from prune.kernels.segment_attention.sdpa import sdpa_attention

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@overload
def segment_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor | Layout,
    frame: Tensor | None,
    reach: Tensor | ReachTable,
    scale: float | None = ...,
    impl: Impl = ...,
    return_lse: Literal[False] = ...,
) -> Tensor: ...
@overload
def segment_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor | Layout,
    frame: Tensor | None,
    reach: Tensor | ReachTable,
    scale: float | None = ...,
    impl: Impl = ...,
    *,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def segment_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor | Layout,
    frame: Tensor | None,
    reach: Tensor | ReachTable,
    scale: float | None = None,
    impl: Impl = "auto",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Causal attention in which an edge also has to be within the reach of its two roles.

    `allowed_edges` is the definition of the mask. A query with no key, padding included, yields
    output 0 and LSE -inf; K and V of padding and of keys that no query reads are never used.

    Args:
        q: `[B, Hq, Sq, D]` in float64, float32, bfloat16 or float16; the queries are the last `Sq`
            of the `Sk` positions. The last dimension of q, k and v is contiguous, the others are
            free.
        k: `[B, Hkv, Sk, D]`, `Hq` a multiple of `Hkv`.
        v: `[B, Hkv, Sk, D]`.
        role: int8 `[B, Sk]`, -1 = padding, otherwise a row of `reach`; or a `Layout` from
            `prepare`, with `frame` None.
        frame: int32 `[B, Sk]`, -1 = no frame.
        reach: int32 `[G, R, R]`, `G` = 1 or `Hkv`: `reach[g, query role, key role]` is the largest
            frame distance over which the edge exists. -1 none, 0 the same frame only, `ALL`
            everything; a value `~w` below -1 the distances from 1 to `w` alone. On a GPU keep it on
            the CPU: reading it from the device waits for it. Or a `ReachTable` from `read_reach`,
            which spares reading it at every call.
        scale: factor of `q k`; `D ** -0.5` if None.
        impl: `reference` (dense), `sdpa` (a few ordinary SDPA calls, any device), `triton`
            (forward only), `flex` (PyTorch's FlexAttention, which compiles for seconds), or `auto`,
            the fastest of the first ones that can run here.
        return_lse: also return the log-sum-exp of each row.

    Returns:
        `[B, Hq, Sq, D]` in the dtype of `q`; with `return_lse` also the LSE, float32 `[B, Hq, Sq]`,
        in nats (float64 for float64 inputs). The LSE carries no gradient.

    Raises:
        ValueError: malformed input, before anything is computed.
        NotImplementedError: an explicit `impl` that does not support these inputs.
        RuntimeError: an explicit `impl` that cannot run on this machine.
    """
    if torch.compiler.is_compiling():
        # The checks follow when the operator runs.
        return _in_a_graph(q, k, v, role, frame, reach, scale, impl, return_lse)
    _check_tensors(q, k, v)
    if isinstance(role, Layout):
        if frame is not None:
            raise ValueError("frame: expected None beside a Layout, which holds the frames")
        layout = role
    else:
        if frame is None:
            raise ValueError("frame: expected an int32 tensor [B, Sk], got None")
        for name, tensor in (("role", role), ("frame", frame)):
            if isinstance(tensor, Tensor) and tensor.device not in (q.device, torch.device("cpu")):
                raise ValueError(f"{name}: expected device {q.device} or cpu, got {tensor.device}")
        layout = prepare(role, frame)
    if isinstance(reach, Tensor) and reach.device not in (q.device, torch.device("cpu")):
        raise ValueError(f"reach: expected device {q.device} or cpu, got {reach.device}")
    table = reach if isinstance(reach, ReachTable) else read_reach(reach)
    if table.values.shape[0] not in (1, k.shape[1]):
        raise ValueError(
            f"reach: expected G = 1 or Hkv = {k.shape[1]}, got {table.values.shape[0]}"
        )
    if layout.max_role >= table.values.shape[1]:
        raise ValueError(
            f"role: expected values below R = {table.values.shape[1]}, got {layout.max_role}"
        )
    if scale is None:
        scale = q.shape[-1] ** -0.5
    elif not math.isfinite(scale):
        raise ValueError(f"scale: expected a finite number, got {scale}")
    out, lse = attend(q, k, v, layout, table, scale, impl, return_lse)
    if not return_lse:
        return out
    assert lse is not None
    return out, lse


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
    impl: Impl = "auto",
    need_lse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`segment_attention` for inputs that fit by construction, such as those a model makes.

    Only the length is checked, which a wrong cache would change: in a small model the other checks
    are a noticeable part of a layer. Arguments are as there, `need_lse` as `return_lse`.

    Returns:
        `[B, Hq, Sq, D]`, and the LSE `[B, Hq, Sq]`, which may be None without `need_lse`.

    Raises:
        ValueError: K has another batch or length than the layout.
    """
    if layout.shape != (k.shape[0], k.shape[2]):
        raise ValueError(
            f"role: expected shape [B, Sk] = {(k.shape[0], k.shape[2])}, got {layout.shape}"
        )
    chosen = taken.impl = choose(impl, q, k, v, layout, reach, scale)
    lse: Tensor | None
    if not q.numel():
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=_lse_dtype(q))
    elif chosen == "reference":
        out, lse = reference_attention(q, k, v, *layout.tensors, reach.tensor, scale)
    elif chosen == "sdpa":
        out, lse = sdpa_attention(q, k, v, layout, reach, scale, need_lse)
    elif chosen == "flex":
        from prune.kernels.segment_attention.flex import flex_segment_attention

        out, lse = flex_segment_attention(q, k, v, layout, reach, scale, need_lse)
    else:
        from prune.kernels.segment_attention.triton import triton_attention

        out, lse = triton_attention(q, k, v, layout, reach, scale)
    return out, lse


def _in_a_graph(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor | Layout,
    frame: Tensor | None,
    reach: Tensor | ReachTable,
    scale: float | None,
    impl: Impl,
    return_lse: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    roles, frames = role.tensors if isinstance(role, Layout) else (role, frame)
    if frames is None:
        raise ValueError("frame: expected an int32 tensor [B, Sk], got None")
    table = reach.tensor if isinstance(reach, ReachTable) else reach
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    found: tuple[Tensor, Tensor] = operator(q, k, v, roles, frames, table, scale, impl)
    return found if return_lse else found[0]


def _lse_dtype(q: Tensor) -> torch.dtype:
    return torch.promote_types(q.dtype, torch.float32)


def _check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    _check(
        (q.shape, q.stride(), q.dtype, q.device),
        (k.shape, k.stride(), k.dtype, k.device),
        (v.shape, v.stride(), v.dtype, v.device),
    )


class _Description(NamedTuple):
    """What is checked of a tensor."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


# The layers of a pass, and the passes, call with the same shapes.
@lru_cache(maxsize=256)
def _check(*described: tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]) -> None:
    """Of q, k and v, as parts of a `_Description`."""
    q, k, v = (_Description(*parts) for parts in described)
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if len(tensor.shape) != 4:
            raise ValueError(f"{name}: expected shape [B, H, S, D], got {tuple(tensor.shape)}")
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name}: expected a floating dtype, got {tensor.dtype}")
        if tensor.shape[-1] == 0:
            raise ValueError(f"{name}: expected D >= 1, got shape {tuple(tensor.shape)}")
        if tensor.shape[-1] > 1 and tensor.stride[-1] != 1:
            raise ValueError(
                f"{name}: expected a contiguous last dimension, got stride {tensor.stride[-1]}"
            )
    for name, tensor in (("k", k), ("v", v)):
        if tensor.dtype != q.dtype:
            raise ValueError(f"{name}: expected the dtype of q {q.dtype}, got {tensor.dtype}")
        if tensor.device != q.device:
            raise ValueError(f"{name}: expected the device of q {q.device}, got {tensor.device}")
    if k.shape != v.shape:
        raise ValueError(f"v: expected the shape of k {tuple(k.shape)}, got {tuple(v.shape)}")
    if (q.shape[0], q.shape[3]) != (k.shape[0], k.shape[3]):
        raise ValueError(
            f"k: expected B = {q.shape[0]} and D = {q.shape[3]}, got shape {tuple(k.shape)}"
        )
    if k.shape[1] == 0 or q.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"q: expected Hq a multiple of Hkv = {k.shape[1]}, got Hq = {q.shape[1]}")
    if q.shape[2] > k.shape[2]:
        raise ValueError(f"q: expected Sq <= Sk = {k.shape[2]}, got Sq = {q.shape[2]}")
