"""Greedy replies of a model, and inputs that continue a prompt with the tokens of one."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature


@torch.no_grad()
def greedy_reply(model: Any, inputs: Any, max_new_tokens: int = 128) -> list[int]:
    """Token ids of the model's greedy reply to a prompt, without the token that ends it.

    Special tokens inside the reply stay: later tokens were generated behind them.

    Args:
        model: a transformers model; it replies under whatever plan is applied to it.
        inputs: a batch of one prompt.
        max_new_tokens: longest reply.
    """
    ids: list[int] = model.generate(
        **inputs.to(model.device), max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
    )[0, inputs["input_ids"].shape[1] :].tolist()
    ends = model.generation_config.eos_token_id
    if ids and ids[-1] in (ends if isinstance(ends, list) else [ends]):
        ids.pop()
    return ids


def continued(inputs: Any, ids: Sequence[int]) -> BatchFeature:
    """Inputs of one prompt with text tokens behind it.

    Args:
        inputs: a batch of one: `input_ids` int64 `[1, S]`, and what else the processor returned.
        ids: K tokens.

    Returns:
        The same with `input_ids`, `attention_mask` and `mm_token_type_ids` `[1, S + K]`.
    """
    longer = dict(inputs)
    for name, values in (
        ("input_ids", list(ids)),
        ("attention_mask", [1] * len(ids)),
        ("mm_token_type_ids", [0] * len(ids)),
    ):
        if name in longer:
            more = torch.tensor([values], dtype=longer[name].dtype, device=longer[name].device)
            longer[name] = torch.cat([longer[name], more], 1)
    return BatchFeature(longer)
