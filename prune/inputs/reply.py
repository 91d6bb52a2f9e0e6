"""Greedy replies of a model, and inputs that continue prompts with the tokens of replies."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature


def greedy_reply(model: Any, inputs: Any, max_new_tokens: int = 128) -> list[int]:
    """`greedy_replies` for a batch of one prompt."""
    (reply,) = greedy_replies(model, inputs, max_new_tokens)
    return reply


@torch.no_grad()
def greedy_replies(model: Any, inputs: Any, max_new_tokens: int = 128) -> list[list[int]]:
    """Token ids of the model's greedy replies to prompts, without the tokens that end them.

    Special tokens inside a reply stay: later tokens were generated behind them.

    Args:
        model: a transformers model; it replies under whatever plan is applied to it.
        inputs: a batch of prompts.
        max_new_tokens: longest reply.
    """
    start = inputs["input_ids"].shape[1]
    rows: list[list[int]] = model.generate(
        **inputs.to(model.device), max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
    )[:, start:].tolist()
    return [without_end(model, row) for row in rows]


def without_end(model: Any, ids: list[int]) -> list[int]:
    """The tokens of a reply before the one that ends it."""
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    return ids[: next((i for i, id in enumerate(ids) if id in ends), len(ids))]


def continued(inputs: Any, ids: Sequence[int]) -> BatchFeature:
    """`continued_each` for one prompt."""
    return continued_each(inputs, [ids])


def continued_each(inputs: Any, replies: Sequence[Sequence[int]], pad: int = 0) -> BatchFeature:
    """Inputs of prompts with text tokens behind each of them, padded on the left.

    Args:
        inputs: `input_ids` int64 `[B, S]`, padded on the left, and what else the processor
            returned.
        replies: K_b tokens of each row.
        pad: token id of padding.

    Returns:
        The same with `input_ids`, `attention_mask` and `mm_token_type_ids` `[B, S']`, as wide as
        the longest row of tokens that are no padding.
    """
    longer = dict(inputs)
    mask = inputs.get("attention_mask")
    real = torch.ones_like(inputs["input_ids"]) if mask is None else mask
    counts = real.sum(1).tolist()
    width = max(count + len(ids) for count, ids in zip(counts, replies, strict=True))
    for name, more, fill in (
        ("input_ids", None, pad), ("attention_mask", 1, 0), ("mm_token_type_ids", 0, 0)
    ):  # fmt: skip
        if name not in longer:
            continue
        old = longer[name]
        new = old.new_full((len(old), width), fill)
        for row, (count, ids) in enumerate(zip(counts, replies, strict=True)):
            behind = old.new_tensor(list(ids) if more is None else [more] * len(ids))
            new[row, width - count - len(ids) :] = torch.cat(
                [old[row, old.shape[1] - count :], behind]
            )
        longer[name] = new
    return BatchFeature(longer)
