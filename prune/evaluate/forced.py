"""Prompts with the tokens of a reply behind them, in batches: teacher forcing."""

from collections.abc import Sequence
from typing import Any

import torch

from prune.errors import BadInputError
from prune.inputs.encode import continuation, prompt_of
from prune.inputs.reply import continued_each, greedy_replies
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample
from prune.layout.segments import Role, Segments, segment
from prune.runtime.captured import Replay, capture


def replies_to(
    model: Any, processor: Any, inputs: Any, samples: Sequence[Sample], replying: Replying
) -> list[list[int]]:
    """The tokens of the reply that each sample is followed by; empty if it has none.

    Args:
        model: dense.
        processor: the model's.
        inputs: the samples' prompts.
        samples: open.
        replying: whose replies, and how long at most.
    """
    if replying.source == "own":
        return greedy_replies(model, inputs, replying.max_tokens)
    return [
        reference_ids(processor, sample)[: replying.max_tokens] if sample.reply else []
        for sample in samples
    ]


def reference_ids(processor: Any, sample: Sample) -> list[int]:
    """The tokens of the sample's `reply` behind its prompt."""
    before = prompt_of(processor, sample).text
    gap = "" if before[-1:].isspace() else " "
    return continuation(processor.tokenizer, before, gap + str(sample.reply).strip())


def forced(model: Any, processor: Any, inputs: Any, replies: Sequence[Sequence[int]]) -> Replay:
    """Prompts with all but the last token of their replies, captured.

    The last K_b tokens of row b predict its reply, of K_b > 0 tokens: `last` the first of them, and
    `answer` tokens the others.
    """
    prompts = segment(processor, inputs)
    pad = processor.tokenizer.pad_token_id or 0
    longer = continued_each(inputs, [ids[:-1] for ids in replies], pad)
    layout = _behind(prompts, [len(ids) - 1 for ids in replies], longer["input_ids"].shape[1])
    return capture(model, processor, longer, layout)


def _behind(prompts: Segments, counts: Sequence[int], width: int) -> Segments:
    """The layout with `counts` answer tokens behind each prompt, padded on the left."""
    whole = Segments(*(torch.full((len(counts), width), -1, dtype=column.dtype)
                       for column in (prompts.role, prompts.frame, prompts.option)))  # fmt: skip
    for index, count in enumerate(counts):
        row = prompts.row(index)
        first, stop = width - count - row.shape[1], width - count
        whole.role[index, first:stop] = row.role[0]
        whole.frame[index, first:stop] = row.frame[0]
        whole.option[index, first:stop] = row.option[0]
        whole.role[index, stop:] = int(Role.ANSWER)
    return whole


def check_reply(reply: Sequence[int], replying: Replying) -> None:
    """Raise `BadInputError` for a reply without a token."""
    if not reply:
        raise BadInputError(
            "the data has no reply to it" if replying.source == "reference"
            else "the dense model's reply to it is empty"
        )  # fmt: skip
