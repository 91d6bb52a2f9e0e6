"""What every family promises. A new family is tested by being in `prune/families`."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import BatchFeature

import prune
from prune.families import families, video_families
from prune.layout.segments import Role, Segments, segment
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from prune.runtime.captured import capture
from tests.families.reference import (
    frozen_plan,
    masked_logits,
    random_frozen_plan,
    random_plan,
    sealed_plan,
)
from tests.families.specimen import Prompt, Tiny, tiny_of

BEFORE = "USER: "
QUESTION, OPTIONS, TAIL = " Question: Who?\nOptions:\n", "(A) I am\n(B) you", "\nASSISTANT: (B"
AFTER = QUESTION + OPTIONS + TAIL
STEPS = 8

ONE: Prompt = (BEFORE, 3, AFTER)
UNEQUAL: list[Prompt] = [ONE, ("Look. " + BEFORE, 3, AFTER), (BEFORE, 3, " What? ASSISTANT:")]
TWO: Prompt = (BEFORE, 2, " and then ", 2, AFTER)
NONE: Prompt = ("How many are there? ASSISTANT:",)

runnable = video_families()


@pytest.fixture(params=[name for name, family in families().items() if family.shows_video])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return tiny_of(request.param)


@pytest.fixture(params=runnable)
def running(request: pytest.FixtureRequest) -> Tiny:
    """A family in which plans run, its class being in this transformers."""
    found = tiny_of(request.param)
    assert found.model is not None
    return found


def layout(tiny: Tiny, *prompts: Prompt) -> tuple[Tensor, Segments]:
    inputs = tiny.inputs(*prompts)
    return inputs["input_ids"], segment(tiny.processor, inputs)


def placeholder(tiny: Tiny) -> str:
    attribute = tiny.family.placeholder
    return re.escape(getattr(tiny.processor, attribute, attribute))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_text_of_every_role_is_the_source(tiny: Tiny, count: int) -> None:
    ids, segments = layout(tiny, (BEFORE, count, AFTER))
    role, frame, option = segments.role[0], segments.frame[0], segments.option[0]
    decode = tiny.processor.tokenizer.decode
    text = {r: decode(ids[0, role == r]) for r in Role}

    head, *between, rest = re.split(f"(?:{placeholder(tiny)})+", tiny.text((BEFORE, count, AFTER)))
    first = decode(ids[0, (role == Role.TIMESTAMP) & (frame == 0)])
    assert text[Role.SYSTEM] + first == head
    announces = tiny.family.starts or tiny.family.announces
    assert re.fullmatch(announces, first)
    assert text[Role.VIDEO] == "".join(re.findall(placeholder(tiny), tiny.text((count,))))
    announced = [decode(ids[0, (role == Role.TIMESTAMP) & (frame == i + 1)]) for i in range(count)]
    assert "".join(announced) == "".join(between) and text[Role.TIMESTAMP].startswith(first)
    assert announced[: len(between)] == between
    assert text[Role.BRIDGE] + text[Role.QUESTION] == rest[: rest.index(OPTIONS)]
    assert text[Role.QUESTION].strip() == QUESTION.strip()
    assert text[Role.OPTIONS] == OPTIONS
    assert [decode(ids[0, option == i]) for i in range(2)] == OPTIONS.splitlines(keepends=True)
    assert text[Role.TAIL] + text[Role.LAST] == TAIL
    assert (role >= 0).all() and role[-1] == Role.LAST


def test_a_question_without_a_label_or_options(tiny: Tiny) -> None:
    ids, segments = layout(tiny, (BEFORE, 3, " What is 3? ASSISTANT: "))
    text = tiny.processor.tokenizer.decode(ids[0, segments.role[0] == Role.QUESTION])
    assert text.strip() == "What is 3?"


@pytest.mark.parametrize("count", [1, 2, 3, 8, 15])
def test_every_frame_has_its_tokens(tiny: Tiny, count: int) -> None:
    _, segments = layout(tiny, (BEFORE, count, AFTER))
    units = tiny.specimen.units(count)
    frame = segments.frame[0, segments.role[0] == Role.VIDEO]
    units[-1] += tiny.family.extra_tokens
    assert torch.bincount(frame).tolist() == units
    assert (frame.diff() >= 0).all()


def test_rows_of_a_batch_are_as_if_alone(tiny: Tiny) -> None:
    prompts = list(UNEQUAL)
    if tiny.specimen.ragged:
        prompts += [(BEFORE, 8, AFTER), (1, AFTER)]
    _, together = layout(tiny, *prompts)
    assert (together.role == -1).any(), "the batch must have padding for this test to mean anything"
    for i, prompt in enumerate(prompts):
        _, alone = layout(tiny, prompt)
        for name in ("role", "frame", "option"):
            assert torch.equal(getattr(together.row(i), name), getattr(alone, name))


def test_frames_are_numbered_through_several_videos(running: Tiny) -> None:
    ids, segments = layout(running, NONE, TWO, (BEFORE, 2, AFTER))
    units = running.specimen.units(2)
    extra = running.family.extra_tokens
    expected = [*units[:-1], units[-1] + extra] * 2
    frame = segments.frame[1, segments.role[1] == Role.VIDEO]
    assert torch.bincount(frame).tolist() == expected
    said = running.processor.tokenizer.decode(ids[1, segments.role[1] == Role.QUESTION])
    assert said.strip().startswith("and then") and said.endswith(QUESTION.strip() + "\n")
    assert set(segments.row(0).role[0].tolist()) == {Role.SYSTEM, Role.LAST}
    assert segments.frame[0].max() == -1


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 5])
def test_frames_are_the_pixels_ones(running: Tiny, count: int) -> None:
    """Change the pixels of one temporal unit: exactly its tokens get other embeddings."""
    inputs = running.inputs((BEFORE, count, AFTER))
    name = "pixel_values_videos" if "pixel_values_videos" in inputs else "pixel_values"
    pixels = inputs[name]
    axis = 1 if pixels.ndim == 5 else 0
    units = len(running.specimen.units(count))
    size = pixels.shape[axis] // units

    def embedded(changed: Tensor) -> Tensor:
        given = BatchFeature({**inputs, name: changed})
        return capture(running.model, running.processor, given).kwargs["inputs_embeds"][0]

    clean = embedded(pixels)
    segments = segment(running.processor, inputs)
    frame = segments.frame[0].masked_fill(segments.role[0] != Role.VIDEO, -1)
    if running.family.extra_tokens:
        frame[(frame >= 0).nonzero()[-running.family.extra_tokens :]] = -1
    for unit in range(units):
        changed = pixels.clone()
        changed.narrow(axis, unit * size, size).add_(1)
        assert torch.equal((embedded(changed) != clean).any(-1), frame == unit)


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL, [NONE]], ids=["one", "padded", "no video"])
def test_a_plan_that_removes_nothing_is_the_dense_model(
    running: Tiny, prompts: list[Prompt]
) -> None:
    model, inputs = running.model, running.inputs(*prompts)
    dense = model(**inputs).logits[:, -1]
    with prune.apply(model, Plan.dense(geometry(model)), processor=running.processor):
        same = model(**inputs).logits[:, -1]
    assert_close(same, dense)
    assert torch.equal(model(**inputs).logits[:, -1], dense), "undone at exit"


def generated(tiny: Tiny, plan: Plan, inputs: BatchFeature) -> tuple[Tensor, Tensor]:
    """Tokens `[B, S + STEPS]` and their logits `[B, STEPS, V]`."""
    # A placeholder among the answer tokens would make the reference look for one more video.
    special = list(range(256, len(tiny.processor.tokenizer)))
    with prune.apply(tiny.model, plan, processor=tiny.processor):
        out = tiny.model.generate(
            **inputs, max_new_tokens=STEPS + 1, min_new_tokens=STEPS + 1, do_sample=False,
            suppress_tokens=special, eos_token_id=None, return_dict_in_generate=True,
            output_logits=True,
        )  # fmt: skip
    return out.sequences[:, :-1], torch.stack(out.logits, 1)


def with_answer(inputs: BatchFeature, sequences: Tensor) -> BatchFeature:
    """The same inputs with generated tokens after the prompt."""
    extra = sequences.shape[1] - inputs["input_ids"].shape[1]
    pad = torch.nn.functional.pad
    data = {**inputs, "input_ids": sequences}
    data["attention_mask"] = pad(inputs["attention_mask"], (0, extra), value=1)
    if "mm_token_type_ids" in inputs:
        data["mm_token_type_ids"] = pad(inputs["mm_token_type_ids"], (0, extra))
    return BatchFeature(data)


@torch.no_grad()
@pytest.mark.parametrize("make_plan", [random_plan, sealed_plan, frozen_plan, random_frozen_plan])
@pytest.mark.parametrize("prompts", [[ONE], UNEQUAL, [TWO]], ids=["one", "padded", "two videos"])
def test_a_pruned_run_is_the_masked_dense_one(
    running: Tiny, prompts: list[Prompt], make_plan: Any
) -> None:
    model, inputs = running.model, running.inputs(*prompts)
    plan = make_plan(model)
    prompt = segment(running.processor, inputs)
    sequences, logits = generated(running, plan, inputs)
    assert sequences.shape[1] == prompt.shape[1] + STEPS

    segments = prompt.resized(sequences.shape[1])
    whole = masked_logits(running, plan, with_answer(inputs, sequences), segments)
    assert_close(logits, whole[:, -STEPS - 1 :])
    with prune.apply(model, plan, processor=running.processor):
        assert_close(model(**inputs).logits[:, -1], whole[:, -STEPS - 1])
    assert (model(**inputs).logits[:, -1] - logits[:, 0]).abs().max() > 0.05, "the plan must matter"


@torch.no_grad()
def test_a_saved_model_runs_the_same_plan(running: Tiny, tmp_path: Path) -> None:
    plan, inputs = sealed_plan(running.model), running.inputs(ONE)
    running.model.save_pretrained(tmp_path)
    plan.save(tmp_path / "plan.json")
    again = getattr(transformers, running.specimen.model).from_pretrained(tmp_path).eval()
    logits = []
    for model, its_plan in ((running.model, plan), (again, Plan.load(tmp_path / "plan.json"))):
        with prune.apply(model, its_plan, processor=running.processor):
            logits.append(model(**inputs).logits[:, -1])
    assert_close(*logits)
