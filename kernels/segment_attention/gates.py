"""The two gates of an output: about as close to float64 as masked SDPA of the same dtype."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels.segment_attention.reference import allowed_edges

MAX_ERROR_RATIO = 2.0
MEAN_ERROR_RATIO = 1.2
"""Largest and mean error, relative to masked SDPA in the same dtype. Both must hold."""

ROWS = 128
"""Rows of a slice; all rows at once would take the square of the length in float64."""


def verdict(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float | None = None,
) -> str:
    """ "ok", or which gate failed and by how much; arguments as in `error_ratios`."""
    worst, mean = error_ratios(out, q, k, v, role, frame, reach, scale)
    if not worst <= MAX_ERROR_RATIO:
        return f"its largest error is {worst:.1f} times masked SDPA's, allowed {MAX_ERROR_RATIO}"
    if not mean <= MEAN_ERROR_RATIO:
        return f"its mean error is {mean:.2f} times masked SDPA's, allowed {MEAN_ERROR_RATIO}"
    return "ok"


def error_ratios(
    out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    role: Tensor,
    frame: Tensor,
    reach: Tensor,
    scale: float | None = None,
) -> tuple[float, float]:
    """Errors against float64, relative to masked SDPA's; of the first, last and some middle rows.

    Args:
        out: `[B, Hq, Sq, D]`, the output for the other arguments, which are those of
            `segment_attention`, as tensors.

    Returns:
        The ratios of the largest and of the mean error; infinite where an output is not finite.
    """
    errors: list[Tensor] = []
    allowed_errors: list[Tensor] = []
    length, queries = k.shape[2], q.shape[2]
    repeat = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeat, 1) for x in (k, v))
    role, frame = role.to(q.device), frame.to(q.device)
    for start in sorted({0, queries // 3, queries // 2, max(0, queries - ROWS)}):
        stop = min(start + ROWS, queries)
        end = length - queries + stop
        mask = allowed_edges(role[:, :end], frame[:, :end], reach, stop - start)
        if mask.shape[1] > 1:
            mask = mask.repeat_interleave(repeat, 1)
        empty = ~mask.any(-1, keepdim=True)
        rows, keys, values = q[:, :, start:stop], k[:, :, :end], v[:, :, :end]
        exact = F.scaled_dot_product_attention(
            rows.double(), keys.double(), values.double(), mask | empty, scale=scale
        ).masked_fill(empty, 0)
        same = F.scaled_dot_product_attention(
            rows, keys, values, mask | empty, scale=scale
        ).masked_fill(empty, 0)
        errors.append((out[:, :, start:stop].double() - exact).abs().flatten())
        allowed_errors.append((same.double() - exact).abs().flatten())
    error, allowed = torch.cat(errors), torch.cat(allowed_errors)
    if not error.isfinite().all():
        return float("inf"), float("inf")
    # Masked SDPA may be exact by luck, where rows read a single key.
    luck = torch.finfo(torch.float64).tiny + torch.finfo(out.dtype).eps * 1e-3
    return (
        float(error.max() / (allowed.max() + luck)),
        float(error.mean() / (allowed.mean() + luck)),
    )
