"""What a pruned model cannot do it says in one line, and `skip="none"` can where it may."""

from typing import Any

import pytest
import torch
from transformers import DynamicCache, StaticCache

import prune
from prune.errors import RefusedError, UsageError
from prune.runtime.cache import cache_in
from tests.families.specimen import Tiny
from tests.runtime.conversation import ONE, generate, narrow_plan

STEP = torch.tensor([[65]])


@torch.no_grad()
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("labels", "ids"),
        ("output_hidden_states", True),
        ("output_attentions", True),
        ("return_dict", False),
    ],
)
def test_results_that_would_not_mean_what_they_say(
    random_tiny: Tiny, argument: str, value: Any
) -> None:
    model, inputs, plan = random_tiny.model, random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    asked = {argument: inputs["input_ids"] if value == "ids" else value}
    with prune.apply(model, plan, processor=random_tiny.processor):
        with pytest.raises(RefusedError, match=rf'^{argument}.*: .*skip="none"') as refused:
            model(**inputs, **asked)
        assert "\n" not in str(refused.value)
        right = model(**inputs).logits[:, -1]
    with prune.apply(model, plan, processor=random_tiny.processor, skip="none"):
        out = model(**inputs, **asked)
    logits = (out[0] if argument == "return_dict" else out.logits)[:, -1]
    torch.testing.assert_close(logits, right, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_hidden_states_of_the_reference_have_their_shapes(random_tiny: Tiny) -> None:
    inputs, plan = random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip="none"):
        out = random_tiny.model(**inputs, output_hidden_states=True)
    assert {tuple(h.shape) for h in out.hidden_states} == {(1, inputs["input_ids"].shape[1], 32)}


@torch.no_grad()
@pytest.mark.parametrize("skip", ["all", "none"])
def test_caches_whose_layers_share_a_length(random_tiny: Tiny, skip: str) -> None:
    model, inputs, plan = random_tiny.model, random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    with pytest.raises(RefusedError, match=r"StaticCache here cannot.*CUDA graphs"):
        generate(random_tiny, plan, inputs, skip, cache_implementation="static")
    static = StaticCache(config=model.config.text_config, max_cache_len=200)
    offloaded = DynamicCache(config=model.config.text_config)
    offloaded.offloading = True  # the argument would start CUDA streams where torch is built for it
    with prune.apply(model, plan, processor=random_tiny.processor, skip=skip):  # type: ignore[arg-type]
        for cache in (static, offloaded):
            with pytest.raises(RefusedError, match="without offloading"):
                model(**inputs, past_key_values=cache)


@torch.no_grad()
def test_a_cache_of_another_plan_or_mode(random_tiny: Tiny) -> None:
    model, inputs, plan = random_tiny.model, random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    apply = prune.apply
    with apply(model, plan, processor=random_tiny.processor):
        cache = model(**inputs).past_key_values
    with apply(model, plan, processor=random_tiny.processor, mode="multi_turn"):
        with pytest.raises(RefusedError, match="without this plan"):
            model(input_ids=STEP, past_key_values=cache)


def test_unknown_words(random_tiny: Tiny) -> None:
    model, plan = random_tiny.model, narrow_plan(random_tiny.model)
    with pytest.raises(UsageError, match="skip: expected auto, all or none, got 'some'"):
        with prune.apply(model, plan, processor=random_tiny.processor, skip="some"):  # type: ignore[arg-type]
            pass
    with pytest.raises(UsageError, match="mode: expected single_turn or multi_turn"):
        with prune.apply(model, plan, processor=random_tiny.processor, mode="chat"):  # type: ignore[arg-type]
            pass


@torch.no_grad()
def test_embeddings_alone_have_no_roles(random_tiny: Tiny) -> None:
    plan = narrow_plan(random_tiny.model)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor):
        with pytest.raises(RefusedError, match="needs input_ids"):
            random_tiny.model(inputs_embeds=torch.zeros(1, 4, 32))


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_model_runs_the_plan(random_tiny: Tiny) -> None:
    """The hooks run between compiled pieces, in prefills and in the decode steps between them."""
    plan = narrow_plan(random_tiny.model)

    def logits(model: Any) -> torch.Tensor:
        found = []
        for inputs in (random_tiny.inputs(ONE), random_tiny.inputs((*ONE, " and why?"))):
            out = model(**inputs, use_cache=True)
            found.append(out.logits[:, -1])
            for _ in range(2):
                token = found[-1].argmax(-1, keepdim=True)
                out = model(input_ids=token, past_key_values=cache_in(out))
                found.append(out.logits[:, -1])
        return torch.stack(found)

    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor, skip="all"):
        expected = logits(random_tiny.model)
        found = logits(torch.compile(random_tiny.model, backend="eager"))
    torch._dynamo.reset()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_continuous_batching_is_refused_in_one_line(random_tiny: Tiny) -> None:
    model, plan = random_tiny.model, narrow_plan(random_tiny.model)
    with prune.apply(model, plan, processor=random_tiny.processor):
        for ask in (lambda: model.generate_batch([[1, 5]]), model.init_continuous_batching):
            with pytest.raises(RefusedError, match=r"^continuous batching: ") as refused:
                ask()
            assert "\n" not in str(refused.value)
        assert model.config.text_config._attn_implementation != "sdpa"
    assert "init_continuous_batching" not in vars(model)
