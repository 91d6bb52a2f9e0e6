"""Whether an output is right: the two gates of the tests, on the very inputs that were timed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels import allowed_edges
from prune.layout.segments import Segments

ROWS = 128
"""Rows of a slice; all rows at once would take the square of the length in float64."""


def parity(out: Tensor, q: Tensor, k: Tensor, v: Tensor, segments: Segments, table: Tensor) -> str:
    """ "ok", or which gate failed, on slices of rows of every kind against float64."""
    errors: list[Tensor] = []
    allowed_errors: list[Tensor] = []
    length, queries = k.shape[2], q.shape[2]
    repeat = q.shape[1] // k.shape[1]
    k64, v64 = (x.double().repeat_interleave(repeat, 1) for x in (k, v))
    k_same, v_same = (x.repeat_interleave(repeat, 1) for x in (k, v))
    role, frame = segments.role.to(q.device), segments.frame.to(q.device)
    for start in sorted({0, queries // 3, queries // 2, max(0, queries - ROWS)}):
        stop = min(start + ROWS, queries)
        end = length - queries + stop
        mask = allowed_edges(role[:, :end], frame[:, :end], table, stop - start)
        empty = ~mask.any(-1, keepdim=True)
        rows, kv = q[:, :, start:stop], slice(0, end)
        options = {"attn_mask": mask | empty}
        exact = F.scaled_dot_product_attention(
            rows.double(), k64[:, :, kv], v64[:, :, kv], **options
        ).masked_fill(empty, 0)
        same = F.scaled_dot_product_attention(
            rows, k_same[:, :, kv], v_same[:, :, kv], **options
        ).masked_fill(empty, 0)
        errors.append((out[:, :, start:stop].double() - exact).abs().flatten())
        allowed_errors.append((same.double() - exact).abs().flatten())
    error, limit = torch.cat(errors), torch.cat(allowed_errors)
    if not error.isfinite().all() or error.max() > 2.0 * limit.max():
        return f"max error {error.max():.1e} > 2.0 x {limit.max():.1e}"
    if error.mean() > 1.2 * limit.mean():
        return f"mean error {error.mean():.1e} > 1.2 x {limit.mean():.1e}"
    return "ok"
