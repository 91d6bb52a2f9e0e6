"""Replies behind a prompt: the model's own, and replays of prompt and reply up to any token."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature

from prune.layout.segments import Role, Segments, segment
from prune.runtime.captured import Replay, capture


@torch.no_grad()
def greedy(model: Any, processor: Any, inputs: Any, max_tokens: int) -> list[int]:
    """The reply's tokens, without what ends it."""
    ids = model.generate(
        **inputs.to(model.device), max_new_tokens=max_tokens, do_sample=False, num_beams=1
    )[0, inputs["input_ids"].shape[1] :].tolist()
    special = set(processor.tokenizer.all_special_ids)
    return ids[: next((i for i, token in enumerate(ids) if token in special), len(ids))]


def replied(model: Any, processor: Any, inputs: Any, reply: list[int]) -> Replay:
    """A prompt with the first tokens of its reply, captured."""
    prompt = segment(processor, inputs)
    replay = capture(model, processor, continued(inputs, reply))
    return replace(replay, segments=_with_reply(prompt, len(reply)))


def continued(inputs: Any, ids: list[int]) -> BatchFeature:
    """Inputs of a batch of one with more text tokens at the end."""
    longer = dict(inputs)
    for name, values in (("input_ids", ids), ("attention_mask", [1] * len(ids)),
                         ("mm_token_type_ids", [0] * len(ids))):  # fmt: skip
        if name in longer:
            more = torch.tensor([values], dtype=longer[name].dtype, device=longer[name].device)
            longer[name] = torch.cat([longer[name], more], 1)
    return BatchFeature(longer)


def _with_reply(prompt: Segments, count: int) -> Segments:
    """The layout with `count` tokens of a reply; its last token is `last`, not the prompt's."""
    if not count:
        return prompt
    longer = prompt.resized(prompt.shape[1] + count)
    role = longer.role.clone()
    role[:, prompt.shape[1] - 1] = Role.TAIL
    role[:, -1] = Role.LAST
    return replace(longer, role=role)


def shortened(replay: Replay, length: int) -> Replay:
    """The first `length` tokens of a prompt and its reply; the final one becomes `last`."""
    whole = replay.segments.shape[1]

    def first(name: str, value: Any) -> Any:
        if name == "inputs_embeds":
            return value[:, :length]
        along = isinstance(value, Tensor) and value.ndim and value.shape[-1] == whole
        return value[..., :length] if along else value

    role = replay.segments.role[:, :length].clone()
    role[:, -1] = Role.LAST
    segments = replace(replay.segments.resized(length), role=role)
    kwargs = {name: first(name, value) for name, value in replay.kwargs.items()}
    return replace(replay, kwargs=kwargs, segments=segments)
