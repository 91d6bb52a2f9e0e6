"""The reference implementation: plain dense torch, differentiable, on any device."""

import math

import torch
from torch import Tensor


def allowed_edges(role: Tensor, frame: Tensor, reach: Tensor, num_queries: int) -> Tensor:
    """The definition of the mask: which (query, key) edges exist.

    Query `i` is the token at position `p = Sk - Sq + i`. It may read key `j` when `j <= p`, neither
    is padding, and `distance(p, j) <= reach[g, role[p], role[j]]`, where the distance of two tokens
    is `|frame[p] - frame[j]|` if both have a frame and 0 if not. A reach `~w` takes the distances
    from 1 to `w`: -1 takes none.

    Args:
        role: int8 `[B, Sk]`, -1 = padding.
        frame: int32 `[B, Sk]`, -1 = no frame.
        reach: int32 `[G, R, R]`, `reach[g, query role, key role]`.
        num_queries: `Sq`; the queries are the last `Sq` positions.

    Returns:
        bool `[B, G, Sq, Sk]` on the device of `role`.
    """
    first = role.shape[1] - num_queries
    query_role, query_frame = role[:, first:, None], frame[:, first:, None]
    key_role, key_frame = role[:, None, :], frame[:, None, :]
    both_have_frames = (query_frame >= 0) & (key_frame >= 0)
    distance = (query_frame - key_frame).abs().where(both_have_frames, 0)
    # Padding indexes role 0 here and is masked out below.
    table = reach.to(role.device)[:, query_role.clamp(min=0).long(), key_role.clamp(min=0).long()]
    position = torch.arange(role.shape[1], device=role.device)
    causal = position[first:, None] >= position[None, :]
    near = (table < 0).to(distance.dtype)
    within = (distance >= near) & (distance <= torch.where(table < 0, ~table, table))
    allowed = within & (query_role >= 0) & (key_role >= 0) & causal
    return allowed.transpose(0, 1)


def reference_attention(
    q: Tensor, k: Tensor, v: Tensor, role: Tensor, frame: Tensor, reach: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Dense masked attention; arguments as in `segment_attention`, which validates them.

    Half precision is computed in float32. Allocates `[B, Hq, Sq, Sk]`.

    Returns:
        `[B, Hq, Sq, D]` in the dtype of `q`, and the LSE `[B, Hq, Sq]` in nats, in float32
        (float64 for float64 inputs).
    """
    batch, num_heads, num_queries, head_dim = q.shape
    num_kv_heads, num_keys = k.shape[1], k.shape[2]
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    allowed = allowed_edges(role.to(q.device), frame.to(q.device), reach, num_queries)

    # Nothing of a token that takes part in no edge may reach the result or a gradient, not even
    # through 0 * NaN.
    key_read = allowed.any(dim=2)[..., None]  # [B, G, Sk, 1]
    query_reads = allowed.any(dim=3)  # [B, G, Sq]
    k = k.to(dtype).masked_fill(~key_read, 0.0)
    v = v.to(dtype).masked_fill(~key_read, 0.0)
    grouped = q.to(dtype).unflatten(1, (num_kv_heads, -1))
    grouped = grouped.masked_fill(~query_reads[:, :, None, :, None], 0.0)

    # The query heads of a KV head become rows, so that K and V are not expanded.
    rows = grouped.reshape(batch, num_kv_heads, -1, head_dim)
    scores = (rows @ k.transpose(-1, -2) * scale).view(
        batch, num_kv_heads, -1, num_queries, num_keys
    )
    mask = allowed[:, :, None]
    empty = ~query_reads[:, :, None, :, None]
    # An empty row is softmaxed over zeros, not over -inf, whose gradient is NaN.
    scores = scores.masked_fill(~mask, -math.inf).masked_fill(empty, 0.0)
    weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)
    out = weights.reshape(batch, num_kv_heads, -1, num_keys) @ v
    lse = scores.detach().logsumexp(dim=-1).masked_fill(empty[..., 0], -math.inf)
    return (
        out.view(batch, num_heads, num_queries, head_dim).to(q.dtype),
        lse.view(batch, num_heads, num_queries),
    )
