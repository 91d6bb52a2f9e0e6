"""A prompt and a part of its reply is the prompt that the model saw at that token."""

import pytest
import torch

from prune.families import video_families
from prune.inputs.reply import continued
from prune.layout.segments import Role
from prune.runtime.attention import seam
from prune.trace.dense_pass import record_dense
from prune.trace.reply import replied, shortened
from tests.families.specimen import tiny_of

PROMPT = ("USER: ", 3, " Question: Who?\nASSISTANT:")


@torch.no_grad()
@pytest.mark.parametrize("name", video_families())
def test_every_token_of_a_reply(name: str) -> None:
    tiny = tiny_of(name)
    inputs = tiny.inputs(PROMPT)
    reply = tiny.processor.tokenizer.encode(" I am", add_special_tokens=False)
    prompt = inputs["input_ids"].shape[1]
    expected = tiny.model(**continued(inputs, reply)).logits[0, prompt - 1 :].float()
    whole = replied(tiny.model, tiny.processor, inputs, reply)
    for place in range(len(reply) + 1):
        replay = shortened(whole, prompt + place)
        role = replay.segments.role[0]
        assert role[-1] == Role.LAST and (role == Role.ANSWER).sum() == max(0, place - 1)
        with seam(tiny.model):
            logits = record_dense(replay).logits
        torch.testing.assert_close(logits, expected[place], atol=1e-4, rtol=1e-4)
