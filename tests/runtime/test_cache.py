"""Keys that nothing to come may read are gone from memory, and nobody notices."""

from typing import Any

import pytest
import torch
from transformers import BatchFeature

import prune
from prune.errors import RefusedError
from prune.layout.segments import Role, Segments, segment
from prune.plan.cost import Geometry, cost_of
from prune.plan.liveness import Mode
from prune.runtime.turns import follow_up
from tests.families.reference import masked_logits
from tests.families.specimen import Prompt, Tiny
from tests.runtime.conversation import (
    ONE,
    STEPS,
    UNEQUAL,
    assert_same,
    frozen,
    generate,
    kv_memory,
    narrow_plan,
    random_plan,
)

MODES: tuple[Mode, ...] = ("single_turn", "multi_turn")


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(6))
def test_kv_memory_is_what_was_counted(random_tiny: Tiny, seed: int, mode: Mode) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(ONE)
    plan = random_plan(model, seed, by_head=seed % 2 == 1) if seed else narrow_plan(model)
    plan = frozen(plan, seed) if seed > 2 else plan
    prompt, sizes = segment(random_tiny.processor, inputs), Geometry.of(model)
    with prune.apply(model, plan, processor=random_tiny.processor, mode=mode):
        cache = model(**inputs, use_cache=True).past_key_values
    counted = cost_of(plan.reach, prompt, sizes, mode).kv_bytes
    assert kv_memory(cache) == counted < kv_memory(model(**inputs).past_key_values)
    assert [cache.get_seq_length(layer) for layer in range(len(cache))] == [prompt.shape[1]] * 5


@torch.no_grad()
def test_answers_grow_every_layer_by_one(random_tiny: Tiny) -> None:
    inputs = random_tiny.inputs(*UNEQUAL)
    plan = narrow_plan(random_tiny.model)
    with prune.apply(random_tiny.model, plan, processor=random_tiny.processor):
        before = random_tiny.model(**inputs).past_key_values
    after = generate(random_tiny, plan, inputs, "all").past_key_values
    for short, long in zip(before.layers, after.layers, strict=True):
        assert long.keys.shape[2] - short.keys.shape[2] == STEPS - 1
        assert long.get_seq_length() == inputs["input_ids"].shape[1] + STEPS - 1
    after.crop(-2)
    assert after.get_seq_length() == inputs["input_ids"].shape[1] + STEPS - 3
    assert after.layers[-1].keys.shape[2] == before.layers[-1].keys.shape[2] + STEPS - 3


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL], ids=["one", "padded"])
@pytest.mark.parametrize("seed", range(4))
def test_tokens_fed_by_hand(random_tiny: Tiny, prompts: list[Prompt], seed: int) -> None:
    """A cache that was filled by `forward`, repeated, and several tokens at once."""
    model, inputs = random_tiny.model, random_tiny.inputs(*prompts)
    plan = random_plan(model, seed, by_head=seed % 2 == 1)
    plan = frozen(plan, seed) if seed > 1 else plan
    tokens = torch.tensor([[65, 66, 67]]).expand(2 * len(prompts), -1)
    mask = inputs["attention_mask"].repeat_interleave(2, 0)
    found = []
    for skip in ("none", "all"):
        with prune.apply(model, plan, processor=random_tiny.processor, skip=skip):  # type: ignore[arg-type]
            cache = model(**inputs, use_cache=True).past_key_values
            cache.batch_repeat_interleave(2)
            logits = []
            for part in (tokens[:, :2], tokens[:, 2:]):
                mask = torch.nn.functional.pad(mask, (0, part.shape[1]), value=1)
                out = model(input_ids=part, attention_mask=mask, past_key_values=cache)
                logits.append(out.logits)
            mask = inputs["attention_mask"].repeat_interleave(2, 0)
            found.append(torch.cat(logits, 1))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def second_turn(tiny: Tiny, first: Any, inputs: BatchFeature) -> BatchFeature:
    """The conversation so far and another question, of unequal length where there are two rows."""
    texts = [" USER: Question: And he? ASSISTANT:", " USER: Why? (A) no (B) so ASSISTANT: ("]
    new = tiny.processor.tokenizer(
        texts[: len(first.sequences)], padding=True, return_tensors="pt"
    )  # fmt: skip
    pad = torch.nn.functional.pad(inputs["attention_mask"], (0, STEPS), value=1)
    return BatchFeature(
        {
            "input_ids": torch.cat([first.sequences, new["input_ids"]], 1),
            "attention_mask": torch.cat([pad, new["attention_mask"]], 1),
        }
    )


def conversation_layouts(
    tiny: Tiny, inputs: BatchFeature, whole: BatchFeature
) -> tuple[Segments, Segments]:
    """Roles of the first prompt with its answer, and of the whole with what follows."""
    seen = inputs["input_ids"].shape[1] + STEPS - 1  # the last answer token is not in the cache
    known = segment(tiny.processor, inputs).resized(seen)
    return known, follow_up(tiny.processor, whole["input_ids"], whole["attention_mask"], known)


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL[:2]], ids=["one", "padded"])
@pytest.mark.parametrize("seed", range(8))
def test_a_follow_up_question(random_tiny: Tiny, prompts: list[Prompt], seed: int) -> None:
    model, inputs = random_tiny.model, random_tiny.inputs(*prompts)
    plan = random_plan(model, seed % 4) if seed % 4 else narrow_plan(model)
    plan = frozen(plan, seed % 4 or None) if seed > 3 else plan
    answers = []
    for skip in ("none", "all"):
        first = generate(random_tiny, plan, inputs, skip, "multi_turn")
        whole = second_turn(random_tiny, first, inputs)
        answers.append(
            generate(
                random_tiny, plan, whole, skip, "multi_turn", past_key_values=first.past_key_values
            )
        )
    assert_same(*answers)

    before, layout = conversation_layouts(random_tiny, inputs, whole)
    assert (layout.role[:, -1] == Role.LAST).all()
    # As `generate` counts them: padding between the turns has no position.
    positions = (whole["attention_mask"].cumsum(1) - 1).clamp(min=0)
    pixels = {"pixel_values_videos": inputs["pixel_values_videos"], "position_ids": positions}
    expected = masked_logits(random_tiny, plan, {**whole, **pixels}, layout, before)[:, -1]
    special = list(range(256, len(random_tiny.processor.tokenizer)))
    expected[:, special] = -torch.inf
    torch.testing.assert_close(answers[1].scores[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_follow_up_on_keys_that_are_gone_is_refused(random_tiny: Tiny) -> None:
    inputs, plan = random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    first = generate(random_tiny, plan, inputs, "all")
    whole = second_turn(random_tiny, first, inputs)
    with pytest.raises(RefusedError, match='mode="multi_turn"'):
        generate(random_tiny, plan, whole, "all", past_key_values=first.past_key_values)


@torch.no_grad()
def test_a_follow_up_needs_new_text_and_no_new_video(random_tiny: Tiny) -> None:
    inputs, plan = random_tiny.inputs(ONE), narrow_plan(random_tiny.model)
    first = generate(random_tiny, plan, inputs, "all", "multi_turn")
    again = {"past_key_values": first.past_key_values}
    short = BatchFeature({"input_ids": first.sequences[:, :-1]})
    with pytest.raises(RefusedError, match="brings no new ones"):
        generate(random_tiny, plan, short, "all", "multi_turn", **again)
    video = random_tiny.inputs(("Now ", 2, " And this? ASSISTANT:"))
    both = {**video, "input_ids": torch.cat([first.sequences, video["input_ids"]], 1)}
    both.pop("attention_mask")
    with pytest.raises(RefusedError, match="new video"):
        generate(random_tiny, plan, BatchFeature(both), "all", "multi_turn", **again)
