"""Replays of a prompt with its reply, up to any token of the reply."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from prune.inputs.reply import continued
from prune.layout.segments import Role, Segments, segment
from prune.runtime.captured import Replay, capture


def replied(model: Any, processor: Any, inputs: Any, reply: list[int]) -> Replay:
    """A prompt with the first tokens of its reply, captured."""
    prompt = segment(processor, inputs)
    replay = capture(model, processor, continued(inputs, reply))
    return replace(replay, segments=_with_reply(prompt, len(reply)))


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
