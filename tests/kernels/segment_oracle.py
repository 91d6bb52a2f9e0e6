"""An oracle that shares no code with the kernels: the mask token by token, then float64 softmax."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask(role: Tensor, frame: Tensor, reach: Tensor, num_queries: int) -> Tensor:
    """bool `[B, G, Sq, Sk]`, from the sentence in the design: pair by pair, in Python."""
    batch, length = role.shape
    roles, frames, table = role.tolist(), frame.tolist(), reach.tolist()
    result = torch.zeros(batch, len(table), num_queries, length, dtype=torch.bool)
    for b in range(batch):
        for i in range(num_queries):
            q = length - num_queries + i
            for k in range(q + 1):
                if roles[b][q] == -1 or roles[b][k] == -1:
                    continue
                distance = 0
                if frames[b][q] != -1 and frames[b][k] != -1:
                    distance = abs(frames[b][q] - frames[b][k])
                for g, entries in enumerate(table):
                    reach = entries[roles[b][q]][roles[b][k]]
                    if reach < -1:  # at least the frame before, up to -1 - reach frames back
                        result[b, g, i, k] = 1 <= distance <= -1 - reach
                    else:
                        result[b, g, i, k] = reach != -1 and distance <= reach
    return result


def attention(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Output and LSE in float64, one row at a time over the keys it may read."""
    batch, heads, rows, dim = q.shape
    scale = dim**-0.5 if scale is None else scale
    per_kv, groups = heads // k.shape[1], allowed.shape[1]
    out = torch.zeros(batch, heads, rows, dim, dtype=torch.float64)
    lse = torch.full((batch, heads, rows), -torch.inf, dtype=torch.float64)
    for b in range(batch):
        for kv in range(k.shape[1]):
            group = slice(kv * per_kv, (kv + 1) * per_kv)
            keys, values = k[b, kv].cpu().double(), v[b, kv].cpu().double()
            for i in range(rows):
                read = allowed[b, kv if groups > 1 else 0, i].cpu().nonzero()[:, 0]
                if read.numel():
                    scores = q[b, group, i].cpu().double() @ keys[read].T * scale
                    lse[b, group, i] = scores.logsumexp(-1)
                    out[b, group, i] = scores.softmax(-1) @ values[read]
    return out, lse


def baseline(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float | None = None
) -> Tensor:
    """Masked SDPA in the dtype of the inputs: what the gates compare with."""
    heads, kv_heads = q.shape[1], k.shape[1]
    groups = allowed.shape[1]
    per_head = allowed.repeat_interleave(heads // groups, dim=1).to(q.device)
    # Unread keys may hold NaN, which SDPA would spread.
    unread = ~allowed.any(2).repeat_interleave(kv_heads // groups, dim=1).to(q.device)[..., None]
    k, v = k.masked_fill(unread, 0), v.masked_fill(unread, 0)
    k, v = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
    empty = ~per_head.any(-1, keepdim=True)
    q = q.masked_fill(empty, 0)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=per_head | empty, scale=scale)
    return out.masked_fill(empty, 0)
