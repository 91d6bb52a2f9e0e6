"""Explicit masks for batches of short variants, made once for all layers that cut alike."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels import allowed_edges
from prune.layout.reach import Reach
from prune.layout.segments import Segments


@dataclass
class Masks:
    """Enforces a reach table by an explicit mask for each different layer.

    Attributes:
        reach: int32 `[L, G, R, R]`.
        segments: layout of the keys.
        rows: queries of a layer, the last of the keys.
        needed: queries of the last layer whose output is read, the last of those.
    """

    reach: Reach
    segments: Segments
    rows: int
    needed: int
    _made: dict[tuple[bytes, int], tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        rows = self.needed if layer == len(self.reach) - 1 else self.rows
        bias, blind = self._mask(layer, rows, query)
        grouped = query.shape[1] != key.shape[1]
        # Layers may be on other devices than the one that the mask was made for.
        bias = bias.to(query.device)
        out = F.scaled_dot_product_attention(
            query[:, :, -rows:], key, value, bias, scale=scale, enable_gqa=grouped
        )
        if blind is not None:
            out = out.masked_fill(blind.to(query.device), 0.0)
        return F.pad(out, (0, 0, self.rows - rows, 0))

    def _mask(self, layer: int, rows: int, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """The mask of the last queries, 0 or -inf, `[N, H, rows, Sk]`, and the queries without key.

        Both may be of one row or head that stands for all; `None` where every query has a key.
        """
        name = self.reach[layer].tobytes(), rows
        if name in self._made:
            return self._made[name]
        s = self.segments
        # Variants that show equally many tokens often show tokens of the same frames.
        same = bool((s.role == s.role[:1]).all() and (s.frame == s.frame[:1]).all())
        role, frame = (s.role[:1], s.frame[:1]) if same else (s.role, s.frame)
        mask = allowed_edges(role, frame, torch.from_numpy(self.reach[layer]), rows)
        if mask.shape[1] > 1:
            mask = mask.repeat_interleave(query.shape[1] // mask.shape[1], 1)
        empty = ~mask.any(-1, keepdim=True)
        # Nothing is read from padding, but without a key its state would be NaN.
        bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~(mask | empty), -torch.inf)
        blind = empty & (role[:, None, -rows:, None] >= 0)
        self._made[name] = bias.to(query.device), blind if blind.any() else None
        return self._made[name]
