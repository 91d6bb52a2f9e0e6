"""Other streams inside `generate`, and answers that are continued, equal the masked model."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import BatchFeature

import prune
from prune.errors import RefusedError
from prune.plan.plan import Plan
from tests.families.specimen import Prompt, Tiny
from tests.runtime.conversation import (
    ONE,
    STEPS,
    UNEQUAL,
    assert_same,
    generate,
    narrow_plan,
    random_plan,
)

SKIPS = ("auto", "all")


@pytest.fixture(params=["narrow", "random"])
def plan(request: pytest.FixtureRequest, random_tiny: Tiny) -> Plan:
    model = random_tiny.model
    return narrow_plan(model) if request.param == "narrow" else random_plan(model, 1)


@torch.no_grad()
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL], ids=["one", "padded"])
def test_classifier_free_guidance(
    random_tiny: Tiny, plan: Plan, prompts: list[Prompt], skip: str
) -> None:
    """Its second stream has no video, so it is the dense model's."""
    inputs = random_tiny.inputs(*prompts)
    guided = generate(random_tiny, plan, inputs, skip, guidance_scale=3.0)
    assert_same(guided, generate(random_tiny, plan, inputs, "none", guidance_scale=3.0))
    alone = generate(random_tiny, plan, inputs, skip)
    assert (guided.scores[1] - alone.scores[1]).nan_to_num().abs().max() > 1e-3

    # The stream by hand: the last token of the prompt, then the answer, in the dense model.
    ids = torch.cat([inputs["input_ids"][:, -1:], guided.sequences[:, -STEPS:-1]], 1)
    blind = torch.log_softmax(random_tiny.model(input_ids=ids).logits, -1)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip="none"):
        seen = random_tiny.model(**inputs).logits[:, -1]
    seen = torch.log_softmax(seen, -1)
    expected = 3.0 * (seen - blind[:, 0]) + blind[:, 0]
    expected[:, list(range(256, len(random_tiny.processor.tokenizer)))] = -torch.inf
    torch.testing.assert_close(guided.scores[0], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("skip", SKIPS)
def test_assisted_decoding(random_tiny: Tiny, plan: Plan, skip: str) -> None:
    """The assistant only proposes: answers are those of the masked model."""
    inputs, dense = random_tiny.inputs(ONE), deepcopy(random_tiny.model)
    found = generate(random_tiny, plan, inputs, skip, assistant_model=dense)
    assert_same(found, generate(random_tiny, plan, inputs, "none"))


@torch.no_grad()
def test_a_pruned_assistant_is_refused(random_tiny: Tiny, plan: Plan) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    with prune.apply(model, plan, processor=random_tiny.processor):
        right = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        for assistant in (model, deepcopy(model)):
            with pytest.raises(RefusedError, match=r"assisted decoding: .* dense assistant_model"):
                model.generate(**inputs, max_new_tokens=4, assistant_model=assistant)
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), right)


@torch.no_grad()
@pytest.mark.parametrize("skip", [*SKIPS, "none"])
@pytest.mark.parametrize("mode", ["single_turn", "multi_turn"])
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL], ids=["one", "padded"])
def test_a_cut_answer_is_continued_from_its_cache(
    random_tiny: Tiny, plan: Plan, prompts: list[Prompt], mode: str, skip: str
) -> None:
    inputs = random_tiny.inputs(*prompts)
    length = {"max_new_tokens": 2 * STEPS, "min_new_tokens": 2 * STEPS}
    whole = long_answer(random_tiny, plan, inputs, skip, mode, **length)
    first = generate(random_tiny, plan, inputs, skip, mode)
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, STEPS), value=1)
    more = BatchFeature({"input_ids": first.sequences, "attention_mask": mask})
    rest = generate(random_tiny, plan, more, skip, mode, past_key_values=first.past_key_values)
    assert torch.equal(rest.sequences, whole.sequences)
    for one, two in zip([*first.scores, *rest.scores], whole.scores, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def long_answer(
    tiny: Tiny, plan: Plan, inputs: BatchFeature, skip: str, mode: str, **length: int
) -> Any:
    special = list(range(256, len(tiny.processor.tokenizer)))
    with prune.apply(tiny.model, plan, processor=tiny.processor, skip=skip, mode=mode):  # type: ignore[arg-type]
        return tiny.model.generate(
            **inputs, **length, suppress_tokens=special, eos_token_id=None, do_sample=False,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
