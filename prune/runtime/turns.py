"""A follow-up turn: the layout of a conversation whose beginning is in the cache."""

from typing import Any

import torch
from torch import Tensor

from prune.errors import RefusedError
from prune.families import family_of_processor
from prune.layout.segments import Role, Segments, label_text


def follow_up(processor: Any, input_ids: Tensor, mask: Tensor | None, known: Segments) -> Segments:
    """Extend a layout by the tokens that were not seen yet; they are a new question.

    Args:
        processor: the model's processor.
        input_ids: int64 `[B, N]`, the whole conversation.
        mask: `[B, N]`, 0 for padding, or None.
        known: layout of the first tokens, `[B, S]`.

    Returns:
        `[B, N]`: roles of the text after a video for the new tokens, the last of them `last`.

    Raises:
        RefusedError: there is nothing new, or a new video.
    """
    batch, start = known.shape
    ids = input_ids[:, start:].cpu()
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[:, start:].cpu().bool()
    if not real.any(1).all():
        raise RefusedError(
            f"the cache has seen {start} tokens and the prompt brings no new ones: "
            "pass the whole conversation as input_ids"
        )
    family = family_of_processor(processor)
    whole = known.resized(start + ids.shape[1])
    role, frame, option = whole.role.clone(), whole.frame.clone(), whole.option.clone()
    role[:, start:] = -1
    for b in range(batch):
        new = ids[b, real[b]].tolist()
        if any(family.is_video(processor, new)):
            raise RefusedError("a follow-up turn brings a new video: start a new cache")
        roles, options = label_text(processor.tokenizer, new)
        places = start + real[b].nonzero()[:, 0]
        role[b, places] = torch.tensor([*roles[:-1], int(Role.LAST)], dtype=torch.int8)
        option[b, places] = torch.tensor([*options[:-1], -1], dtype=torch.int32)
    return Segments(role, frame, option)
