"""What a user would run instead: dense SDPA, and SDPA with a dense mask."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from prune.kernels import allowed_edges
from prune.layout.segments import Segments

Run = Callable[[], Tensor]


def dense_backends(q: Tensor) -> list[SDPBackend]:
    """The dense kernels to compare with."""
    if not q.is_cuda:
        return [SDPBackend.FLASH_ATTENTION]
    if q.dtype == torch.float32:
        return [SDPBackend.EFFICIENT_ATTENTION]
    return [
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
    ]


def dense(q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend) -> Run:
    """Causal attention over everything, of all rows or of the last ones."""
    gqa = q.shape[1] != k.shape[1]
    if backend == SDPBackend.EFFICIENT_ATTENTION and gqa:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    rows, keys = q.shape[2], k.shape[2]
    whole = rows == keys
    mask = None
    if not whole:
        # CUDA's kernels know this mask by name; the CPU's need it as a tensor.
        mask = causal_lower_right(rows, keys)
        if not q.is_cuda:
            mask = torch.ones(rows, keys, dtype=torch.bool).tril(keys - rows)

    def run() -> Tensor:
        with sdpa_kernel([backend]) if q.is_cuda else nullcontext():
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, enable_gqa=gqa)

    return run


def masked(q: Tensor, k: Tensor, v: Tensor, segments: Segments, table: Tensor) -> Run:
    """SDPA with a dense mask that is already there: what a user of the paper's code has."""
    gqa = q.shape[1] != k.shape[1]
    role, frame = segments.role.to(q.device), segments.frame.to(q.device)
    mask = allowed_edges(role, frame, table, q.shape[2])
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=gqa)
