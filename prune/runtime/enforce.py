"""Enforcers of a plan's reach table, or of explicit masks."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.errors import RefusedError
from prune.kernels import Impl, Layout, ReachTable, attend, prepare, read_reach, segment_attention
from prune.layout.freezing import edges_of, updated
from prune.layout.reach import Reach
from prune.layout.segments import Role, Segments
from prune.runtime.rows import key_roles


def masked_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None
) -> Tensor:
    """SDPA under an explicit mask, differentiable; a query without a key yields 0.

    Args:
        query: `[B, Hq, Sq, D]`.
        key, value: `[B, Hkv, Sk, D]`.
        mask: bool, broadcast to `[B, Hq, Sq, Sk]`, True where a query may read a key.
        scale: factor of the scores, 1 / sqrt(D) if None.
    """
    empty = ~mask.any(-1, keepdim=True)
    grouped = query.shape[1] != key.shape[1]
    # Such a row reads everything and is set to 0 after: without a key its gradient would be NaN.
    out = F.scaled_dot_product_attention(
        query, key, value, mask | empty, scale=scale, enable_gqa=grouped
    )
    return out.masked_fill(empty, 0.0)


@dataclass
class PlanEnforcer:
    """Enforces a reach table on one layout, with the segment attention kernels.

    Where the table freezes states, something must `hold` them (`prune.runtime.held`).

    Attributes:
        reach: int32 `[L, G, R, R]`.
        segments: layout of the prompt; later keys are `answer` tokens.
        impl: which kernel (`prune.kernels.segment_attention`).
        start: tokens of the prompt before those that run.
        held: whether its frozen states are held.
    """

    reach: Reach
    segments: Segments
    impl: Impl = "auto"
    start: int = 0
    held: bool = False
    _tables: list[ReachTable] = field(init=False)
    _layouts: dict[int, Layout] = field(init=False, default_factory=dict)
    _updated: list[Tensor | None] = field(init=False)

    def __post_init__(self) -> None:
        self._tables = [read_reach(torch.from_numpy(table)) for table in edges_of(self.reach)]
        self._updated = [
            None if roles.all() else torch.from_numpy(roles) for roles in updated(self.reach)
        ]

    @property
    def freezes(self) -> bool:
        """Whether a layer freezes states."""
        return any(roles is not None for roles in self._updated)

    def hold(self, layer: int, before: Tensor, after: Tensor) -> Tensor:
        """States `after` a layer, with those `before` it where it freezes them: `[B, n, d]`."""
        roles = self._updated[layer]
        if roles is None:
            return after
        stop = self.start + after.shape[1]
        role = self.segments.resized(stop).role[:, self.start :].clamp(min=0)
        moves = roles[role.long()].to(after.device)
        return torch.where(moves[..., None], after, before.to(after.device))

    def _layout(self, length: int) -> Layout:
        """Of the first `length` keys; the same for every layer of a pass."""
        if length not in self._layouts:
            fitted = self.segments.resized(length)
            self._layouts = {length: prepare(fitted.role, fitted.frame)}
        return self._layouts[length]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`; raises `RefusedError` if nothing holds states."""
        if not self.held and self._updated[layer] is not None:
            raise RefusedError("the plan freezes states, which this use of the model cannot do")
        layout, table = self._layout(key.shape[2]), self._tables[layer]
        return attend(query, key, value, layout, table, scale, self.impl)[0]


@dataclass
class DecodeEnforcer:
    """Enforces a reach table on answer tokens, against a cache that holds other keys in each layer.

    Attributes:
        reach: int32 `[L, G, R, R]`.
        segments: layout of the prompt.
        positions: tokens whose keys each layer holds, int64 `[B, m]`; answers follow.
        impl: which kernel, where more than one token is decoded.
    """

    reach: Reach
    segments: Segments
    positions: list[Tensor]
    impl: Impl = "auto"
    _masks: dict[int, Tensor | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.reach = edges_of(self.reach)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        batch, heads, rows, dim = query.shape
        length = key.shape[2]
        if rows > 1 or self.impl != "auto":
            role, frame = key_roles(self.segments, self.positions[layer], length)
            table = torch.from_numpy(self.reach[layer])
            return segment_attention(query, key, value, role, frame, table, scale, impl=self.impl)
        # A single query needs no causality, so the heads that share K and V can be its rows.
        out = F.scaled_dot_product_attention(
            query.reshape(batch, key.shape[1], -1, dim),
            key,
            value,
            attn_mask=self._mask(layer, length, query.device),
            scale=scale,
        )
        return out.reshape(batch, heads, 1, dim)

    def _mask(self, layer: int, length: int, device: torch.device) -> Tensor | None:
        """Which keys an answer reads: bool `[B, G, 1, length]`, or None for all."""
        if layer not in self._masks:
            held = self.positions[layer]
            role, _ = key_roles(self.segments, held, held.shape[1])
            reads = torch.from_numpy(self.reach[layer, :, Role.ANSWER] >= 0)
            mask = reads[:, role.clamp(min=0).long()].transpose(0, 1) & (role >= 0)[:, None]
            self._masks[layer] = None if mask.all() else mask[:, :, None].to(device)
        known = self._masks[layer]
        if known is None:
            return None
        if known.shape[-1] < length:  # with room for answers to come
            known = self._masks[layer] = F.pad(known, (0, length), value=True)
        return known[..., :length]


@dataclass(frozen=True)
class MaskEnforcer:
    """Enforces explicit masks, a different one in every batch row and layer where asked.

    Attributes:
        masks: bool `[M, S, S]`, True where a query may read a key.
        choice: int64 `[L, B]`, the mask of every layer and batch row; or `[L, B, G]`, also of every
            KV head, or one for all (G = 1).
    """

    masks: Tensor
    choice: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        chosen = self.choice[layer]
        chosen = chosen[:, None] if chosen.ndim == 1 else chosen
        mask = self.masks[chosen].to(query.device)
        if chosen.shape[1] > 1:
            mask = mask.repeat_interleave(query.shape[1] // chosen.shape[1], 1)
        return masked_attention(query, key, value, mask, scale)
