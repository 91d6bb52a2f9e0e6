"""Every family through its real processor: a plan is enforced exactly on what people send."""

from itertools import groupby
from typing import Any

import pytest
import torch
from torch import Tensor

import prune
from prune.layout.pathways import PATHWAYS, remove_pathway
from prune.layout.reach import dense_reach
from prune.layout.segments import Role, Segments, segment
from prune.plan.model_id import geometry
from prune.plan.plan import Plan
from tests.real.models import FAMILIES, model_of, processor_of
from tests.real.prompts import CASES, QUESTION, assistant, inputs_of, text, user

STEPS = 3

STOCK_FAILS = {
    (name, case) for name in ("smolvlm", "glm4v") for case in ("video and image", "image and video")
}
"""Transformers' own models take images and frames for each other in a prompt with both."""


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def sealed(model: Any) -> Plan:
    """Video is dead in the last layers, and no path leaks around it."""
    found = geometry(model)
    reach = dense_reach(found.num_layers)
    remove_pathway(reach, PATHWAYS["cross_frame"], slice(0, 1))
    for pathway in ("video_to_question_sealed", "video_to_options", "video_to_video"):
        remove_pathway(reach, PATHWAYS[pathway], slice(3, None))
    for pathway in ("video_to_last", "last_to_last"):
        remove_pathway(reach, PATHWAYS[pathway], slice(0, None))
    return Plan(reach, found, "sealed")


def generate(model: Any, inputs: Any, **more: Any) -> tuple[Tensor, Tensor, Any]:
    """Logits of `STEPS` greedy tokens, the tokens, and all that `generate` returned."""
    # Copies: models may change the tensors that they are given.
    given = {k: v.clone() if isinstance(v, Tensor) else v for k, v in inputs.items()}
    out = model.generate(
        **given, max_new_tokens=STEPS, min_new_tokens=STEPS, do_sample=False,
        return_dict_in_generate=True, output_logits=True, **more,
    )  # fmt: skip
    return torch.stack(out.logits, 1), out.sequences[:, -STEPS:], out


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_a_plan_is_enforced_exactly(name: str, case: str) -> None:
    model, processor = model_of(name)
    inputs = inputs_of(processor, CASES[case])
    if (name, case) in STOCK_FAILS:
        with pytest.raises(ValueError, match="do not match"):
            generate(model, inputs)
        return
    stock, tokens, _ = generate(model, inputs)
    with prune.apply(model, Plan.dense(geometry(model)), processor=processor, strict=True):
        noop, _, _ = generate(model, inputs)
    plan = sealed(model)
    with prune.apply(model, plan, processor=processor, skip="none", strict=True):
        masked, masked_tokens, _ = generate(model, inputs)
    with prune.apply(model, plan, processor=processor, skip="all", strict=True):
        pruned, pruned_tokens, _ = generate(model, inputs)
        ran = prune.launches(model)
    torch.testing.assert_close(noop, stock, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pruned, masked, atol=1e-5, rtol=1e-5)
    assert torch.equal(pruned_tokens, masked_tokens)
    if case in ("image", "text"):
        assert torch.equal(pruned, stock) and torch.equal(pruned_tokens, tokens)
    else:
        assert (masked - stock).abs().max() > 1e-3, "the plan must matter"
        assert ran.dense_prompts == 0 and (0 < ran.computed < ran.states)


@torch.no_grad()
@pytest.mark.parametrize("case", ["image", "text"])
def test_a_family_of_images_alone_stays_dense(case: str) -> None:
    model, processor = model_of("llava")
    inputs = inputs_of(processor, CASES[case])
    stock, _, _ = generate(model, inputs)
    with prune.apply(model, sealed(model), processor=processor, strict=True):
        same, _, _ = generate(model, inputs)
    assert torch.equal(same, stock)


def roles(processor: Any, inputs: Any, row: int = 0) -> list[tuple[str, str]]:
    """The prompt as runs of one role, with the text of each; video and images as their size."""
    found: Segments = segment(processor, inputs, strict=True).row(row)
    mask = inputs.get("attention_mask")
    ids = inputs["input_ids"][row] if mask is None else inputs["input_ids"][row, mask[row].bool()]
    runs = []
    for role, tokens in groupby(
        zip(found.role[0].tolist(), ids.tolist(), strict=True), key=lambda pair: pair[0]
    ):
        kept = [token for _, token in tokens]
        named = Role(role).name.lower()
        said = processor.tokenizer.decode(kept) if named not in ("video", "image") else ""
        runs.append((named, said))
    return runs


def said(runs: list[tuple[str, str]], role: str) -> str:
    return " ".join(words.strip() for name, words in runs if name == role)


def test_the_last_user_s_words_are_the_question(name: str) -> None:
    processor = processor_of(name)
    for case, conversations in CASES.items():
        if case in ("image", "text"):
            continue
        runs = roles(processor, inputs_of(processor, conversations))
        last = conversations[0][-1]["content"]
        words = next(part["text"] for part in last if part["type"] == "text")
        assert said(runs, "question") == words, case
        # The last token ends the template's opening of the reply.
        assert "assistant" in (said(runs, "tail") + runs[-1][1]).lower(), case


def test_words_before_and_between_videos_are_the_user_s(name: str) -> None:
    processor = processor_of(name)
    video = {"type": "video"}
    messages = [user(text("First look.\n"), video, text("then\n"), video, text("Which is faster?"))]
    runs = roles(processor, inputs_of(processor, [messages]))
    words = "".join(said(runs, "question").split())
    # Some templates put all media in front of all text.
    assert words == "Firstlook.thenWhichisfaster?"
    assert "then" not in said(runs, "timestamp") + said(runs, "bridge")


def test_a_history_is_history(name: str) -> None:
    processor = processor_of(name)
    runs = roles(processor, inputs_of(processor, CASES["history"]))
    assert QUESTION in said(runs, "history") and "He talks." in said(runs, "history")
    assert said(runs, "question") == "And where?"


def test_images_are_not_video(name: str) -> None:
    processor = processor_of(name)
    for case in ("image", "video and image", "image and video"):
        found = segment(processor, inputs_of(processor, CASES[case]), strict=True)
        frames = found.frame[found.role == Role.VIDEO]
        units = set(frames.tolist())
        assert units == (set() if case == "image" else set(range(len(units))))
        if case != "image":
            alone = segment(processor, inputs_of(processor, CASES["one clip"]))
            assert len(frames) == (alone.role == Role.VIDEO).sum()
            assert (found.role == Role.IMAGE).any()


@pytest.mark.parametrize("name", ["qwen3_vl", "internvl", "smolvlm", "video_llama_3"])
def test_every_frame_is_announced(name: str) -> None:
    processor = processor_of(name)
    found = segment(processor, inputs_of(processor, CASES["one clip"]))
    announced = set(found.frame[found.role == Role.TIMESTAMP].tolist())
    assert announced == set(found.frame[found.role == Role.VIDEO].tolist())


def test_frames_of_two_videos_are_numbered_through(name: str) -> None:
    processor = processor_of(name)
    alone = segment(processor, inputs_of(processor, CASES["one clip"]))
    both = segment(processor, inputs_of(processor, CASES["two videos"]))
    frames = alone.frame[alone.role == Role.VIDEO]
    size = torch.bincount(frames)
    assert torch.bincount(both.frame[both.role == Role.VIDEO]).tolist() == [*size, *size]


@torch.no_grad()
def test_a_conversation_with_a_kept_cache(name: str) -> None:
    """The same roles as the same conversation sent again, and pruned equals masked."""
    model, processor = model_of(name)
    first = inputs_of(processor, CASES["one clip"])
    plan, answers = sealed(model), []
    for skip in ("none", "all"):
        with prune.apply(model, plan, processor=processor, skip=skip, mode="multi_turn"):
            _, _, out = generate(model, first)
            whole = torch.cat([out.sequences, _next_turn(processor, name)], 1)
            cache = getattr(out, "cache", None) or out.past_key_values
            named = "cache" if "cache" in out else "past_key_values"
            logits, tokens, _ = generate(model, {"input_ids": whole}, **{named: cache})
            answers.append((logits, tokens, whole))
    (masked, masked_tokens, _), (pruned, pruned_tokens, whole) = answers
    torch.testing.assert_close(pruned, masked, atol=1e-5, rtol=1e-5)
    assert torch.equal(pruned_tokens, masked_tokens)

    from prune.runtime.turns import follow_up

    known = segment(processor, first).resized(first["input_ids"].shape[1] + STEPS - 1)
    kept = follow_up(processor, whole, None, known)
    sent = {k: v for k, v in first.items() if k not in ("input_ids", "attention_mask")}
    again = segment(processor, {**sent, "input_ids": whole})
    assert torch.equal(kept.role, again.role) and torch.equal(kept.frame, again.frame)


def _next_turn(processor: Any, name: str) -> Tensor:
    """Tokens of what a client sends after a reply: its end, and another question."""
    messages = [user(text("a")), assistant("reply"), user(text("And where?"))]
    written = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    after = written[written.index("reply") + len("reply") :]
    return processor.tokenizer(after, add_special_tokens=False, return_tensors="pt")["input_ids"]
