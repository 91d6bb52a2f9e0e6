"""An active plan equals the dense model with the plan's explicit masks, and leaves no trace."""

import pytest
import torch
from transformers import BatchFeature

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.kernels import allowed_edges
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan
from prune.runtime.attention import seam
from prune.runtime.captured import capture
from prune.runtime.enforce import MaskEnforcer


def mixed_plan(opened: LoadedModel) -> Plan:
    """Something removed in every layer: frames apart early, video cut off late."""
    reach = dense_reach(opened.id.num_layers)
    remove_pathway(reach, PATHWAYS["cross_frame"], [0, 1, 5, 6])
    remove_pathway(reach, PATHWAYS["video_to_question_sealed"], [0, 8, 9, 10, 11])
    remove_pathway(reach, PATHWAYS["video_to_options"], slice(4, 12))
    remove_pathway(reach, PATHWAYS["video_to_last"], slice(0, 12))
    remove_pathway(reach, PATHWAYS["last_to_last"], slice(0, 12))
    remove_pathway(reach, PATHWAYS["video_to_video"], slice(9, 12))
    return Plan(reach, opened.id, "mixed")


def plan_masks(plan: Plan, segments: prune.Segments) -> MaskEnforcer:
    """The specification: explicit masks from the reach table, in every layer."""
    role, frame, width = segments.role, segments.frame, segments.shape[1]
    tables = [torch.from_numpy(table) for table in plan.reach]
    masks = torch.cat([allowed_edges(role, frame, table, width)[:, 0] for table in tables])
    return MaskEnforcer(masks, torch.arange(len(masks)).reshape(plan.num_layers, -1))


def masked_logits(opened: LoadedModel, plan: Plan, inputs: BatchFeature) -> torch.Tensor:
    replay = capture(opened.model, opened.processor, inputs)
    with seam(opened.model):
        return replay.last_logits(plan_masks(plan, replay.segments))


def masked_steps(opened: LoadedModel, plan: Plan, inputs: BatchFeature, steps: int) -> torch.Tensor:
    """Greedy tokens where every step is a full masked forward pass without a cache."""
    prompt = prune.segment(opened.processor, inputs)
    batch, found = BatchFeature(dict(inputs)), []
    for _ in range(steps):
        replay = capture(opened.model, opened.processor, batch)
        segments = prompt.resized(batch["input_ids"].shape[1])
        with seam(opened.model):
            token = replay.last_logits(plan_masks(plan, segments)).argmax(-1, keepdim=True)
        found.append(token)
        batch["input_ids"] = torch.cat([batch["input_ids"], token], 1)
        batch["attention_mask"] = torch.nn.functional.pad(batch["attention_mask"], (0, 1), value=1)
    return torch.cat(found, 1)


@pytest.fixture
def inputs(tiny: LoadedModel, samples: list[Sample]) -> BatchFeature:
    return read(tiny.processor, samples[:5], 8)


@torch.no_grad()
def test_forward_equals_explicit_masks(tiny: LoadedModel, inputs: BatchFeature) -> None:
    plan = mixed_plan(tiny)
    dense = tiny.model(**inputs).logits[:, -1]
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        pruned = tiny.model(**inputs).logits[:, -1]
    assert (inputs["attention_mask"] == 0).any(), "left padding is part of this test"
    torch.testing.assert_close(pruned, masked_logits(tiny, plan, inputs), atol=1e-4, rtol=1e-4)
    assert (pruned - dense).abs().max() > 0.05, "the plan must change something"
    assert torch.equal(tiny.model(**inputs).logits[:, -1], dense), "undone at exit"


@torch.no_grad()
def test_a_plan_that_removes_nothing_is_the_dense_model(
    tiny: LoadedModel, inputs: BatchFeature
) -> None:
    dense, plan = tiny.model(**inputs).logits, Plan.dense(tiny.id)
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip="none"):
        same = tiny.model(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(same[real], dense[real], atol=1e-4, rtol=1e-4)
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        last = tiny.model(**inputs).logits[:, -1]
    torch.testing.assert_close(last, dense[:, -1], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False])
def test_generate_equals_masked_steps(
    tiny: LoadedModel, inputs: BatchFeature, use_cache: bool
) -> None:
    plan, steps = mixed_plan(tiny), 6
    expected = masked_steps(tiny, plan, inputs, steps)
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        tokens = tiny.model.generate(
            **inputs, max_new_tokens=steps, min_new_tokens=steps, do_sample=False,
            use_cache=use_cache, eos_token_id=None,
        )  # fmt: skip
    assert torch.equal(tokens[:, inputs["input_ids"].shape[1] :], expected)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True, "temperature": 2.0},
        {"num_beams": 3},
        {"num_return_sequences": 2, "do_sample": True},
        {"prefill_chunk_size": 32},
    ],
    ids=["sampling", "beams", "sequences", "chunks"],
)
def test_every_way_to_generate_equals_the_uncached_run(
    tiny: LoadedModel, inputs: BatchFeature, options: dict
) -> None:
    plan = mixed_plan(tiny)
    common = {"max_new_tokens": 5, "min_new_tokens": 5, "return_dict_in_generate": True,
              "output_scores": True}  # fmt: skip
    plain = {k: v for k, v in options.items() if k != "prefill_chunk_size"}
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        torch.manual_seed(0)
        cached = tiny.model.generate(**inputs, **common, **options)
        torch.manual_seed(0)
        uncached = tiny.model.generate(**inputs, **common, **plain, use_cache=False)
    assert torch.equal(cached.sequences, uncached.sequences)
    for a, b in zip(cached.scores, uncached.scores, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_removed_sources_do_not_matter(tiny: LoadedModel, inputs: BatchFeature) -> None:
    """With every edge out of the video removed, no pixel can change one bit of the answer."""
    reach = dense_reach(tiny.id.num_layers)
    for name in ("video_to_question_sealed", "video_to_options", "video_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(0, 12))
    plan = Plan(reach, tiny.id, "blind")
    other = {**inputs, "pixel_values_videos": torch.randn_like(inputs["pixel_values_videos"])}
    assert not torch.equal(tiny.model(**inputs).logits[:, -1], tiny.model(**other).logits[:, -1])
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        one, two = tiny.model(**inputs).logits[:, -1], tiny.model(**other).logits[:, -1]
    assert torch.equal(one, two)


@torch.no_grad()
def test_undone_after_an_exception(tiny: LoadedModel, inputs: BatchFeature) -> None:
    before = tiny.model(**inputs).logits
    with pytest.raises(RuntimeError, match="mine"):
        with prune.apply(tiny.model, mixed_plan(tiny), processor=tiny.processor):
            raise RuntimeError("mine")
    assert torch.equal(tiny.model(**inputs).logits, before)
    assert "generate" not in tiny.model.__dict__
    assert tiny.model.config.text_config._attn_implementation == "sdpa"
    assert not tiny.model._forward_pre_hooks and not tiny.model._forward_hooks


@torch.no_grad()
def test_a_cache_of_another_run_is_refused(tiny: LoadedModel, inputs: BatchFeature) -> None:
    cache = tiny.model(**inputs, use_cache=True).past_key_values
    token = torch.zeros(5, 1, dtype=torch.long)
    with prune.apply(tiny.model, mixed_plan(tiny), processor=tiny.processor):
        with pytest.raises(RefusedError, match="without this plan"):
            tiny.model(input_ids=token, past_key_values=cache)


def test_gradients_flow_through_a_plan(tiny: LoadedModel, inputs: BatchFeature) -> None:
    with prune.apply(tiny.model, mixed_plan(tiny), processor=tiny.processor):
        tiny.model(**inputs).logits[:, -1].sum().backward()
    grads = [p.grad for p in tiny.model.model.language_model.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in grads)
    tiny.model.zero_grad(set_to_none=True)
