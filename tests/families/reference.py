"""The specification of a pruned run: one dense forward pass with explicit masks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels import allowed_edges
from prune.layout.pathways import (
    ALL,
    OTHER_FRAMES,
    PATHWAYS,
    Reach,
    dense_reach,
    inherit_rows,
    remove_pathway,
)
from prune.layout.segments import Segments
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from tests.families.specimen import Tiny


@dataclass(frozen=True)
class DenseMasks:
    """Knows nothing but `allowed_edges`: an explicit mask `[B, H, S, S]` in every layer.

    Attributes:
        before: layout of the first tokens in the turn in which they ran, where another one came.
    """

    reach: Reach
    segments: Segments
    before: Segments | None = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        table = torch.from_numpy(self.reach[layer])
        mask = allowed_edges(self.segments.role, self.segments.frame, table, query.shape[2])
        if self.before is not None:
            length = self.before.shape[1]
            first = allowed_edges(self.before.role, self.before.frame, table, length)
            mask[:, :, :length, :length] = first
        mask = mask.repeat_interleave(query.shape[1] // mask.shape[1], 1)
        out = F.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=True)
        return out.masked_fill(~mask.any(-1, keepdim=True), 0.0)


def random_plan(model: Any) -> Plan:
    """Any edge may go, in any layer and KV head."""
    id = geometry(model)
    draw = np.random.default_rng(0)
    reach = dense_reach(id.num_layers, id.num_kv_heads)
    reach[...] = draw.choice(
        [-1, 0, 1, ALL, ~1, OTHER_FRAMES], reach.shape, p=[0.2, 0.1, 0.1, 0.5, 0.05, 0.05]
    )
    inherit_rows(reach)
    return Plan(reach, id, "random")


def sealed_plan(model: Any) -> Plan:
    """The shape of Map the Flow's plans without their leak: video is dead in the last layers."""
    id = geometry(model)
    last = id.num_layers - 1
    reach = dense_reach(id.num_layers)
    remove_pathway(reach, PATHWAYS["cross_frame"], slice(0, 1))
    for name in ("video_to_question_sealed", "video_to_options"):
        remove_pathway(reach, PATHWAYS[name], slice(last - 1, None))
    for name in ("video_to_last", "last_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(0, None))
    remove_pathway(reach, PATHWAYS["video_to_video"], slice(last - 1, None))
    remove_pathway(reach, PATHWAYS["question_to_question"], slice(last, None))
    return Plan(reach, id, "sealed")


@torch.no_grad()
def masked_logits(
    tiny: Tiny, plan: Plan, inputs: Any, segments: Segments, before: Segments | None = None
) -> Tensor:
    """Logits of every position, float32 `[B, S, V]`, without a cache."""

    def enforce(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "prune": DenseMasks(plan.reach, segments, before)}

    text_model = tiny.family.text_model_of(tiny.model)
    handle = text_model.register_forward_pre_hook(enforce, with_kwargs=True)
    try:
        with seam(tiny.model):
            return tiny.model(**inputs, use_cache=False).logits
    finally:
        handle.remove()
