"""The specification of a pruned run: one dense forward pass with explicit masks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from prune.kernels import allowed_edges
from prune.layout.freezing import FREEZABLE, UPDATE, freezable, freeze
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import ALL, NONE, OTHER_FRAMES, Reach, dense_reach, inherit_rows
from prune.layout.segments import Role, Segments
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


@contextmanager
def frozen(tiny: Tiny, plan: Plan, segments: Segments, before: Segments | None) -> Iterator[None]:
    """Put the states that a layer does not update back behind it: all that freezing is."""
    layout = segments.role if before is None else torch.cat(
        [before.role, segments.role[:, before.shape[1] :]], 1
    )  # fmt: skip
    role = layout.clamp(min=0).long()

    def put_back(table: Any, module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        alone = output if isinstance(output, Tensor) else output[0]
        before = args[0] if args else kwargs["hidden_states"]
        stays = torch.from_numpy(table[0, :, UPDATE] == NONE)[role]
        states = torch.where(stays[..., None], before, alone)
        return states if isinstance(output, Tensor) else (states, *output[1:])

    layers = tiny.family.text_model_of(tiny.model).layers
    with ExitStack() as stack:
        for layer, table in zip(layers, plan.reach, strict=True):
            if table.shape[-1] > UPDATE:
                handle = layer.register_forward_hook(partial(put_back, table), with_kwargs=True)
                stack.callback(handle.remove)
        yield


def frozen_plan(model: Any) -> Plan:
    """The question reads video that is not updated any more; the options are frozen, too."""
    plan = sealed_plan(model)
    reach = freezable(plan.reach)
    freeze(reach, slice(1, None), (Role.VIDEO, Role.TIMESTAMP))
    freeze(reach, slice(3, None), (Role.OPTIONS,))
    return replace(plan, reach=reach, name="frozen")


def random_frozen_plan(model: Any) -> Plan:
    """Any edge may go, and any state may be frozen in any layer and move on in a later one."""
    plan = random_plan(model)
    reach = freezable(plan.reach)
    draw = np.random.default_rng(1)
    for layer in range(len(reach)):
        chosen = draw.random(len(FREEZABLE)) < 0.4
        freeze(reach, [layer], [role for role, here in zip(FREEZABLE, chosen, strict=True) if here])
    return replace(plan, reach=reach, name="random, frozen")


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
        with seam(tiny.model), frozen(tiny, plan, segments, before):
            return tiny.model(**inputs, use_cache=False).logits
    finally:
        handle.remove()
