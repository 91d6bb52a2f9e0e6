"""Without dead states, whatever a model can do gives what the masked dense model gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import prune
from prune.layout.pathways import VIDEO
from prune.layout.reach import NONE, dense_reach, limit_edges
from prune.layout.segments import Role, segment
from prune.plan.cost import Geometry, cost_of
from prune.plan.liveness import FOLLOW_UP, State, order_of, states
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.captured import capture, next_logits
from prune.runtime.prefill import pruned_states
from tests.families.reference import masked_logits
from tests.families.specimen import Prompt, Tiny, tiny_of
from tests.runtime.conversation import (
    BLIND,
    ONE,
    SEVERAL,
    UNEQUAL,
    assert_same,
    frozen,
    generate,
    layers_of,
    narrow_plan,
    random_plan,
)

PLANS: dict[str, Callable[[Any], Plan]] = {
    "narrow": narrow_plan,
    "random 1": lambda model: random_plan(model, 1),
    "random 2": lambda model: random_plan(model, 2),
    "by head": lambda model: random_plan(model, 3, by_head=True),
    "frozen": lambda model: frozen(narrow_plan(model)),
    "frozen in some layers": lambda model: frozen(random_plan(model, 1), seed=1),
    "frozen, by head": lambda model: frozen(random_plan(model, 3, by_head=True), seed=2),
}

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampling": {"do_sample": True, "temperature": 2.0},
    "beams": {"num_beams": 3},
    "sequences": {"num_return_sequences": 2, "do_sample": True},
    "no cache": {"use_cache": False},
    "chunks": {"prefill_chunk_size": 7},
    "large chunks": {"prefill_chunk_size": 40},
}


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest, random_tiny: Tiny) -> Plan:
    return PLANS[request.param](random_tiny.model)


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL, [SEVERAL]], ids=["one", "padded", "several"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_generate(
    random_tiny: Tiny, plan: Plan, prompts: list[Prompt], way: str
) -> None:
    inputs = random_tiny.inputs(*prompts)
    masked = generate(random_tiny, plan, inputs, "none", **WAYS[way])
    assert_same(generate(random_tiny, plan, inputs, "all", **WAYS[way]), masked)


@torch.no_grad()
def test_prompt_lookup(random_tiny: Tiny, plan: Plan) -> None:
    inputs = random_tiny.inputs(
        ("USER: ", 3, " Question: abcabcabc? (A) abc (B) abc ASSISTANT: abc")
    )
    options = {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 1}
    masked = generate(random_tiny, plan, inputs, "none")
    assert_same(generate(random_tiny, plan, inputs, "all", **options), masked)


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL], ids=["one", "padded"])
def test_logits_are_right_or_not_a_number(
    random_tiny: Tiny, plan: Plan, prompts: list[Prompt]
) -> None:
    inputs = random_tiny.inputs(*prompts)
    segments = segment(random_tiny.processor, inputs)
    whole = masked_logits(random_tiny, plan, inputs, segments)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor):
        logits = random_tiny.model(**inputs).logits
        two = random_tiny.model(**inputs, logits_to_keep=2).logits
        chosen = random_tiny.model(**inputs, logits_to_keep=torch.tensor([0, -1])).logits
    assert (segments.role[:, -1] == Role.LAST).all()
    torch.testing.assert_close(logits[:, -1], whole[:, -1], atol=1e-5, rtol=1e-5)
    assert logits[:, :-1].isnan().all()
    torch.testing.assert_close(two, logits[:, -2:], equal_nan=True)
    torch.testing.assert_close(chosen, logits[:, [0, -1]], equal_nan=True)


@torch.no_grad()
def test_dead_states_are_not_computed(random_tiny: Tiny, plan: Plan) -> None:
    inputs = random_tiny.inputs(ONE)
    segments = segment(random_tiny.processor, inputs)
    rows: list[int] = []
    handles = [
        layer.mlp.down_proj.register_forward_hook(lambda m, args, out: rows.append(out.shape[1]))
        for layer in layers_of(random_tiny)
    ]
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip="all"):
        random_tiny.model(**inputs)
    for handle in handles:
        handle.remove()
    assert tuple(rows) == cost_of(plan.reach, segments, Geometry.of(random_tiny.model)).live_tokens
    assert rows[-1] == 1


@torch.no_grad()
def test_added_features_find_every_token(random_tiny: Tiny) -> None:
    """Qwen3-VL adds video features after its first layers: those keep what later ones drop."""
    qwen = tiny_of("qwen3_vl")
    full = qwen.family.full_layers(qwen.model.config)
    assert full > 0
    inputs, found = qwen.inputs(*UNEQUAL), geometry(qwen.model)
    reach = dense_reach(found.num_layers)
    limit_edges(reach, slice(1, None), FOLLOW_UP, VIDEO, NONE)
    plan = Plan(reach, found, "first layer only")
    state = states(plan.reach, order=order_of(segment(qwen.processor, inputs)))
    assert (state[:full, Role.VIDEO] == State.DEAD).any(), "or the test shows nothing"
    assert_same(generate(qwen, plan, inputs, "all"), generate(qwen, plan, inputs, "none"))


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[BLIND], [BLIND, ("Why? ASSISTANT:",)]], ids=["one", "padded"])
def test_without_a_video_it_is_the_dense_model(
    random_tiny: Tiny, plan: Plan, prompts: list[Prompt]
) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(*prompts)
    dense = model(**inputs, output_hidden_states=True)
    tokens = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    with prune.apply(model, plan, processor=random_tiny.processor):
        same = model(**inputs, output_hidden_states=True)
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), tokens)
    assert torch.equal(same.logits, dense.logits)
    assert all(map(torch.equal, same.hidden_states, dense.hidden_states))


@torch.no_grad()
@pytest.mark.parametrize("skip", ["all", "none"])
def test_a_prompt_without_a_video_beside_one_with(random_tiny: Tiny, plan: Plan, skip: str) -> None:
    mixed = generate(random_tiny, plan, random_tiny.inputs(BLIND, ONE), skip)
    for row, prompt in enumerate((BLIND, ONE)):
        alone = generate(random_tiny, plan, random_tiny.inputs(prompt), skip)
        for one, two in zip(mixed.scores, alone.scores, strict=True):
            torch.testing.assert_close(one[row], two[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_replay_skips_dead_states_too(random_tiny: Tiny, plan: Plan) -> None:
    inputs = random_tiny.inputs(*UNEQUAL)
    replay = capture(random_tiny.model, random_tiny.processor, inputs)
    whole = masked_logits(random_tiny, plan, inputs, replay.segments)
    with prune.runtime.attention.seam(random_tiny.model):
        found = next_logits(replay.model, pruned_states(replay, plan.reach)[:, -1])
    torch.testing.assert_close(found, whole[:, -1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_right_padding(random_tiny: Tiny, plan: Plan) -> None:
    padded = random_tiny.inputs(*UNEQUAL)
    for name in ("input_ids", "attention_mask"):
        rows = zip(padded[name], padded["attention_mask"].sum(1), strict=True)
        padded[name] = torch.stack([row.roll(int(n), 0) for row, n in rows])
    ends = padded["attention_mask"].sum(1) - 1
    assert (padded["attention_mask"][:, -1] == 0).any()
    logits = []
    for skip in ("none", "all"):
        with prune.apply(
            random_tiny.model,
            plan,
            processor=random_tiny.processor,
            skip=skip,  # type: ignore[arg-type]
        ):
            logits.append(random_tiny.model(**padded).logits[torch.arange(3), ends])
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_failed_pass_leaves_nothing_behind(random_tiny: Tiny) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    plan = narrow_plan(model)

    def fail(*args: Any) -> None:
        raise RuntimeError("mine")

    def hooks() -> int:
        modules = random_tiny.family.text_model_of(model).layers.modules()
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)

    outside = hooks()
    with prune.apply(model, plan, processor=random_tiny.processor):
        before = hooks()
        right = model(**inputs).logits[:, -1]
        assert hooks() == before
        handle = layers_of(random_tiny)[-1].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="mine"):
            model(**inputs)
        handle.remove()
        assert hooks() == before
        assert torch.equal(model(**inputs).logits[:, -1], right)
    assert hooks() == outside
