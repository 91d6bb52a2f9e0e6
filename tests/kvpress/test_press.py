"""A press keeps the keys that `prune.apply` keeps, and nothing else changes."""

import pytest
import torch
from transformers import BatchFeature, DynamicCache

import prune
from prune.checkpoint.load import LoadedModel
from prune.errors import RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.layout.reach import NONE, dense_reach
from prune.layout.segments import Role
from prune.plan.plan import Plan
from prune.serve.kvpress import PrunePress
from tests.unit.test_apply import mixed_plan

VIDEO_FROM = 5
"""Answers do not read the video from this layer on."""


@pytest.fixture(scope="module")
def inputs(tiny: LoadedModel, samples: list[Sample]) -> BatchFeature:
    return read(tiny.processor, samples[:1], 8)


@pytest.fixture(scope="module")
def answers_only(tiny: LoadedModel) -> Plan:
    """A plan that a press can hold whole: answer tokens alone lose edges."""
    reach = dense_reach(tiny.id.num_layers)
    reach[VIDEO_FROM:, :, Role.ANSWER, Role.VIDEO] = NONE
    return Plan(reach, tiny.id, "answers only")


def prefill(model: torch.nn.Module, inputs: BatchFeature) -> DynamicCache:
    cache = DynamicCache(config=model.config.text_config)
    with torch.no_grad():
        model(**inputs, past_key_values=cache)
    return cache


@pytest.mark.parametrize("mode", ["single_turn", "multi_turn"])
def test_the_cache_is_that_of_apply(tiny: LoadedModel, inputs: BatchFeature, mode: str) -> None:
    plan = mixed_plan(tiny)
    with prune.apply(tiny.model, plan, processor=tiny.processor, mode=mode):
        expected = prefill(tiny.model, inputs)
    press = PrunePress(plan, tiny.processor, mode)
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip="none"), press(tiny.model):
        found = prefill(tiny.model, inputs)
    lengths = [layer.keys.shape[2] for layer in found.layers]
    if mode == "single_turn":
        assert max(lengths) < inputs["input_ids"].shape[1]
    for mine, theirs in zip(found.layers, expected.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys)
        torch.testing.assert_close(mine.values, theirs.values)


def test_generation_is_that_of_apply(
    tiny: LoadedModel, inputs: BatchFeature, answers_only: Plan
) -> None:
    def reply() -> torch.Tensor:
        out = tiny.model.generate(
            **inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        return torch.stack(out.logits)

    dense = reply()
    with prune.apply(tiny.model, answers_only, processor=tiny.processor):
        expected = reply()
    with PrunePress(answers_only, tiny.processor)(tiny.model):
        found = reply()
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found[1:], dense[1:])
    torch.testing.assert_close(reply(), dense)


def test_prompts_of_another_layout_are_refused(
    tiny: LoadedModel, samples: list[Sample], answers_only: Plan
) -> None:
    longest = sorted(samples, key=lambda s: len(s.question))
    batch = read(tiny.processor, [longest[0], longest[-1]], 8)
    with PrunePress(answers_only, tiny.processor)(tiny.model):
        with pytest.raises(RefusedError, match="one prompt at a time"):
            prefill(tiny.model, batch)
    assert not tiny.model._forward_pre_hooks
