"""Prompts, plans and the reference that the runtime's tests share."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature

import prune
from prune.families import Family
from prune.layout.freezing import FREEZABLE, freezable, freeze
from prune.layout.pathways import PATHWAYS, VIDEO, remove_pathway
from prune.layout.reach import ALL, NONE, dense_reach, inherit_rows
from prune.layout.segments import Role
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from tests.families.specimen import Prompt, Tiny

TEXT = " Question: Who?\nOptions:\n(A) I am\n(B) you\nASSISTANT: (B"
ONE: Prompt = ("USER: ", 3, TEXT)
UNEQUAL: list[Prompt] = [ONE, ("Look. USER: ", 3, TEXT), ("USER: ", 3, " What? ASSISTANT:")]
SEVERAL: Prompt = ("First ", 3, " and then ", 3, TEXT)
BLIND: Prompt = ("How many are there? ASSISTANT:",)
STEPS = 5


def narrow_plan(model: Any) -> Plan:
    """Video dies half way, the question before the end; answers read part of the text only."""
    reach = dense_reach(geometry(model).num_layers)
    half = len(reach) // 2 + 1
    remove_pathway(reach, PATHWAYS["cross_frame"], slice(0, 1))
    for name in ("video_to_question_sealed", "video_to_options", "video_to_video"):
        remove_pathway(reach, PATHWAYS[name], slice(half, None))
    for name in ("video_to_last", "last_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(0, None))
    for name in ("question_to_last_sealed", "question_to_question", "question_to_options"):
        remove_pathway(reach, PATHWAYS[name], slice(len(reach) - 1, None))
    return Plan(reach, geometry(model), "narrow")


def random_plan(model: Any, seed: int, by_head: bool = False) -> Plan:
    """Most edges gone, anywhere."""
    found = geometry(model)
    reach = dense_reach(found.num_layers, found.num_kv_heads if by_head else 1)
    draw = np.random.default_rng(seed)
    values = draw.choice([NONE, 0, 1, ALL], (*reach.shape[:2], 8, 8), p=[0.6, 0.1, 0.1, 0.2])
    reach[..., :8, :8] = values
    inherit_rows(reach)
    return Plan(reach, found, f"random {seed}")


def frozen(plan: Plan, seed: int | None = None) -> Plan:
    """The same plan with video frozen from the second layer on and the question from the third; or
    with any state frozen in any layer."""
    reach = freezable(plan.reach)
    freeze(reach, slice(1, None), VIDEO)
    freeze(reach, slice(2, None), (Role.QUESTION,))
    if seed is not None:
        reach = freezable(plan.reach)
        stays = np.random.default_rng(seed).random((len(reach), len(FREEZABLE))) < 0.4
        for layer, number in np.argwhere(stays):
            freeze(reach, [layer], (FREEZABLE[number],))
    return replace(plan, reach=reach)


def generate(
    tiny: Tiny,
    plan: Plan,
    inputs: BatchFeature,
    skip: str,
    mode: str = "single_turn",
    **options: Any,
) -> Any:
    """`STEPS` tokens with their scores, none of them special."""
    special = list(range(256, len(tiny.processor.tokenizer)))
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip=skip, mode=mode):
        torch.manual_seed(0)
        return tiny.model.generate(
            **inputs, max_new_tokens=STEPS, min_new_tokens=STEPS, suppress_tokens=special,
            eos_token_id=None, return_dict_in_generate=True, output_scores=True,
            **{"do_sample": False, **options},
        )  # fmt: skip


def assert_same(a: Any, b: Any) -> None:
    """Two results of `generate` have the same tokens and, within 1e-5, the same scores."""
    assert torch.equal(a.sequences, b.sequences)
    for one, two in zip(a.scores, b.scores, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def layers_of(tiny: Tiny) -> Any:
    """The decoder layers."""
    family: Family = tiny.family
    return family.text_model_of(tiny.model).layers


def kv_memory(cache: Any) -> int:
    """Bytes of memory behind a cache's K and V."""
    tensors: list[Tensor] = [x for layer in cache.layers for x in (layer.keys, layer.values)]
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())
