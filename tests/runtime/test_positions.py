"""Text behind a clip at vLLM's positions: the rule, the families, and how it is undone."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BatchFeature

import prune
from prune.errors import UsageError
from prune.families import families, video_families
from prune.plan.model_id import ModelId, geometry
from prune.plan.plan import Plan
from prune.runtime.positions import continued, place, placed
from tests.families.reference import sealed_plan
from tests.families.specimen import Tiny, tiny_of

DIFFER = ("qwen2_vl", "qwen2_5_vl")
LONG = [
    ("USER: ", 24, " What? ASSISTANT:"),
    ("USER: ", 4, " and ", 30, " Who runs there? ASSISTANT:"),
]


@pytest.fixture(params=DIFFER)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return tiny_of(request.param)


def positions_of(model: Any, inputs: BatchFeature) -> tuple[Tensor, Tensor]:
    names = ("input_ids", "mm_token_type_ids", "attention_mask", "video_grid_thw")
    found: tuple[Tensor, Tensor] = model.model.get_rope_index(**{n: inputs[n] for n in names})
    return found


def counted(model: Any, inputs: BatchFeature, row: int, clips: list[Tensor]) -> Tensor:
    """Positions `[3, S]` of a row's tokens, one token at a time: text is one behind all before."""
    config = model.config.vision_config
    seconds = getattr(config, "tokens_per_second", 1)
    there = inputs["attention_mask"][row].bool()
    found: list[tuple[int, int, int]] = []
    clip = -1
    for place_, kind in enumerate(inputs["mm_token_type_ids"][row][there].tolist()):
        behind = max(max(token) for token in found) + 1 if found else 0
        if kind == 0:
            found.append((behind,) * 3)
            start = place_ + 1
            continue
        if place_ == start:
            clip, origin = clip + 1, behind
        _, height, width = (clips[clip] // torch.tensor([1, 2, 2])).tolist()
        time, rest = divmod(place_ - start, height * width)
        found.append((origin + seconds * time, origin + rest // width, origin + rest % width))
    return torch.tensor(found).T


def test_text_continues_behind_the_largest_position(tiny: Tiny) -> None:
    inputs = tiny.inputs(*LONG)
    assert not inputs["attention_mask"].all(), "the batch must have padding"
    model, clips = tiny.model, list(inputs["video_grid_thw"])
    stock, _ = positions_of(model, inputs)
    undo = place(model, "vllm")
    found, deltas = positions_of(model, inputs)
    undo()
    for row, its in enumerate((clips[:1], clips[1:])):
        there = inputs["attention_mask"][row].bool()
        expected = counted(model, inputs, row, its)
        assert torch.equal(found[:, row, there], expected)
        assert int(deltas[row]) == int(expected.max()) + 1 - int(there.sum())
        assert not torch.equal(stock[:, row, there], expected)
    assert torch.equal(positions_of(model, inputs)[0], stock), "undone"


@pytest.mark.parametrize("name", video_families())
def test_families_where_the_rules_differ_are_marked(name: str) -> None:
    tiny = tiny_of(name)
    inner, differ = tiny.model.model, False
    if hasattr(inner, "get_rope_index"):
        inputs = tiny.inputs(LONG[0])
        stock, _ = positions_of(tiny.model, inputs)
        differ = not torch.equal(
            continued(stock[:, 0], inputs["mm_token_type_ids"][0]), stock[:, 0]
        )
    assert families()[name].other_positions == differ == (name in DIFFER)


def said(model: Any, inputs: BatchFeature) -> Tensor:
    out = model.generate(
        **inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False, output_logits=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    return torch.stack(out.logits)


def measured(plan: Plan, positions: Any) -> Plan:
    return Plan(plan.reach, placed(plan.model, positions), plan.name)


@torch.no_grad()
def test_a_plan_runs_at_the_positions_that_it_was_measured_at(tiny: Tiny) -> None:
    model, inputs = tiny.model, tiny.inputs(LONG[1])
    plan = sealed_plan(model)
    dense = said(model, inputs)
    with prune.apply(model, plan, processor=tiny.processor):
        stock = said(model, inputs)
    undo = place(model, "vllm")
    with prune.apply(model, plan, processor=tiny.processor, skip="none"):
        expected = said(model, inputs)
    undo()
    with prune.apply(model, measured(plan, "vllm"), processor=tiny.processor):
        found = said(model, inputs)
        copy = deepcopy(model)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said(copy, inputs), expected, atol=1e-5, rtol=1e-5)
    assert copy.model.get_rope_index._inner is copy.model
    assert (found - stock).abs().max() > 1e-2, "positions must matter"
    assert torch.equal(said(model, inputs), dense), "undone at exit"


def test_positions_are_part_of_the_identity_only_where_they_differ() -> None:
    one = ModelId(name="m", model_type="qwen2_5_vl", num_layers=1, num_kv_heads=1)
    assert placed(one, "vllm").positions == "vllm"
    assert placed(placed(one, "vllm"), "transformers") == placed(one, None) == one
    other = one.model_copy(update={"model_type": "qwen3_vl"})
    assert placed(other, "vllm") == other
    with pytest.raises(UsageError, match="transformers or vllm"):
        placed(one, "sglang")  # type: ignore[arg-type]


def test_a_plan_says_where_it_was_measured(tiny: Tiny, tmp_path: Any) -> None:
    plan = Plan.dense(geometry(tiny.model))
    there = measured(plan, "vllm")
    for one in (plan, there):
        one.save(tmp_path / "plan.json")
        assert Plan.load(tmp_path / "plan.json").model == one.model
    assert plan.sha256 != there.sha256 and '"positions": "vllm"' in there.to_json()
    assert "positions" not in plan.to_json()
