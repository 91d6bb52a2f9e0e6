"""Attention maps of a few tokens, dense or under a knockout, without an eager model.

Map the Flow (2510.13251, section 3.2) shows how question words read other frames once frames cannot
read each other. Only the requested rows are computed, alongside the run itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from prune.errors import UsageError
from prune.kernels import allowed_edges
from prune.layout.knockout_tables import merged, told_tables
from prune.layout.pathways import Pathway
from prune.runtime.captured import Replay
from prune.runtime.enforce import PlanEnforcer

Pool = Literal["mean", "max"] | int
"""How heads become one map: the mean, the largest weight, or a single head (0-based)."""


def pool_of(text: str, num_heads: int) -> Pool:
    """A pool from the command line: `mean`, `max`, or a head counted from 1.

    Raises:
        UsageError: it is none of these.
    """
    if text in ("mean", "max"):
        return "mean" if text == "mean" else "max"
    if not text.isdigit() or not 1 <= int(text) <= num_heads:
        raise UsageError(f"--heads {text}: expected mean, max or a head from 1 to {num_heads}")
    return int(text) - 1


@dataclass
class _WeightRecorder:
    """The enforcer of a run that also keeps the attention weights of some rows.

    Attributes:
        run: what the run itself is under.
        rows: int64 `[Q]`, ascending.
        weights: float32 `[Hq, Q, S]` of every layer.
    """

    run: PlanEnforcer
    rows: Tensor
    weights: list[Tensor] = field(default_factory=list)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        segments, table = self.run.segments, torch.from_numpy(self.run.reach[layer])
        first, length = int(self.rows[0]), key.shape[2]
        edges = allowed_edges(segments.role, segments.frame, table, length - first)
        edges = edges[0, :, None, self.rows - first].to(key.device)  # [G, 1, Q, S]
        grouped = query[0, :, self.rows.to(key.device)].float().unflatten(0, (key.shape[1], -1))
        scores = grouped @ key[0, :, None].float().transpose(-1, -2) * scale
        weights = scores.masked_fill(~edges, -torch.inf).softmax(-1)
        # A row that may read nothing has no weights.
        self.weights.append(weights.nan_to_num(0.0).flatten(0, 1).cpu())
        return self.run.attend(layer, query, key, value, scale)


def attention_rows(
    replay: Replay,
    rows: Tensor,
    pathway: Pathway | None = None,
    layers: Sequence[int] = (),
) -> Tensor:
    """Attention weights of some tokens over all keys, float32 `[L, Hq, Q, S]`.

    Args:
        replay: one prompt, inside `prune.runtime.attention.seam`.
        rows: int64 `[Q]`, ascending columns of the prompt.
        pathway: removed in `layers` (0-based); the dense model if None.
        layers: where it is removed.

    Raises:
        NumericError: a logit of the run is NaN or infinite.
    """
    num_layers = len(replay.text_model.layers)
    tables, told = told_tables([pathway] if pathway else [], replay.segments)
    choice = [int(pathway is not None and layer in layers) for layer in range(num_layers)]
    kept = _WeightRecorder(PlanEnforcer(*merged(tables[choice], told)), rows)
    replay.last_logits(kept)
    return torch.stack(kept.weights)


def pooled(weights: Tensor, pool: Pool) -> Tensor:
    """One map per layer, `[L, S]` of `[L, H, Q, S]`: query tokens averaged, heads pooled."""
    by_head = weights.mean(2)
    if pool == "mean":
        return by_head.mean(1)
    return by_head.amax(1) if pool == "max" else by_head[:, pool]
