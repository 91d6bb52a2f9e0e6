"""The letter that is scored is the token that a model really says after the cue."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prune.errors import RefusedError
from prune.evaluate.answers import answer, prepare, under
from prune.inputs.encode import choice_prompt, continuation, letter_ids
from prune.inputs.samples import Sample, load_samples
from prune.layout.reach import dense_reach
from prune.plan.model_id import geometry
from tests.real.models import FAMILIES, model_of, processor_of

SAMPLE = Sample("a", Path(), "Which?", ("one", "two", "three", "four"), 1, "t")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_letter_is_what_follows_the_cue(name: str) -> None:
    processor = processor_of(name)
    encode = processor.tokenizer.encode
    prompt = choice_prompt(processor, SAMPLE).text
    for letter, token in zip(SAMPLE.letters, letter_ids(processor, SAMPLE), strict=True):
        assert encode(prompt + letter) == [*encode(prompt), token]


def test_byte_level_vocabularies_have_one_token_for_a_bracket_and_a_letter() -> None:
    tokenizer = processor_of("qwen2_5_vl").tokenizer
    assert tokenizer.encode("(A") == [4346], "or the vocabulary is not Qwen's"
    assert letter_ids(processor_of("qwen2_5_vl"), SAMPLE)[0] == tokenizer.encode("A")[0] == 32


def test_a_cue_that_swallows_the_letter_is_refused() -> None:
    processor = processor_of("qwen2_5_vl")
    with pytest.raises(RefusedError, match=r"after .*--cue"):
        letter_ids(processor, replace(SAMPLE, cue="The option is "))
    assert letter_ids(processor, replace(SAMPLE, cue="Answer: ("))
    with pytest.raises(RefusedError, match="joins the token before it"):
        continuation(processor.tokenizer, "The answ", "er")


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_next_video"])
def test_a_model_that_says_b_scores_on_b(name: str, clips: Path) -> None:
    model, processor = model_of(name)
    chosen = [s for s in load_samples(clips / "test.jsonl") if len(s.options) > 1][:6]
    samples = [replace(s, answer=1) for s in chosen]
    said = processor.tokenizer.encode("Best option:(B")[-1]

    def say(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        output[..., said] += 1000
        return output

    handle = model.get_output_embeddings().register_forward_hook(say)
    try:
        batches, failed = prepare(model, processor, samples, 4, 3)
        given = answer(model, processor, batches, under(dense_reach(geometry(model).num_layers)))
    finally:
        handle.remove()
    assert not failed and len(given) == len(samples)
    assert all(a.correct and a.free_correct and a.p_true > 0.999 for a in given)
