"""A reply ends where the model ends it, and nowhere else."""

import pytest
import torch

from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import read
from prune.inputs.reply import continued, greedy_reply
from prune.inputs.samples import Sample

LONGEST = 12


def test_a_special_token_inside_a_reply_stays(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    reply = greedy_reply(tiny.model, inputs, LONGEST)
    tokenizer = tiny.processor.tokenizer
    special = tokenizer.pad_token_id
    config = tiny.model.generation_config
    assert special in tokenizer.all_special_ids and special != config.eos_token_id
    # Behind the reply's first token, generation itself puts the special one.
    monkeypatch.setattr(config, "sequence_bias", [[[reply[0], special], 100.0]], raising=False)
    interrupted = greedy_reply(tiny.model, inputs, LONGEST)
    assert interrupted[:2] == [reply[0], special] and len(interrupted) > 2
    # What follows was generated behind the special token.
    with torch.no_grad():
        logits = tiny.model(**continued(inputs, interrupted[:2])).logits
    assert interrupted[2] == int(logits[0, -1].argmax())


@pytest.mark.parametrize("ends", [int, list], ids=["one token", "several"])
def test_the_token_that_ends_a_reply_is_cut(
    ends: type, tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    reply = greedy_reply(tiny.model, inputs, LONGEST)
    config = tiny.model.generation_config
    assert 1 < len(reply) < LONGEST and config.eos_token_id not in reply
    # A token that is not special in the vocabulary ends the reply all the same.
    second = reply[1]
    others = [config.eos_token_id, second]
    monkeypatch.setattr(config, "eos_token_id", second if ends is int else others)
    assert greedy_reply(tiny.model, inputs, LONGEST) == reply[: reply.index(second)]


def test_a_reply_that_is_too_long_keeps_its_last_token(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    inputs = read(tiny.processor, samples[:1], 8)
    reply = greedy_reply(tiny.model, inputs, LONGEST)
    assert greedy_reply(tiny.model, inputs, 2) == reply[:2]
