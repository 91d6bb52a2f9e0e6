"""Follow-up turns: the layout of a conversation whose beginning is in the cache."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prune.errors import RefusedError
from prune.families import family_of_processor
from prune.inputs.written import recall
from prune.layout.roles import RowRoles
from prune.layout.segments import Role, Segments, gathered
from prune.plan.liveness import TURN


def follow_up(processor: Any, input_ids: Tensor, mask: Tensor | None, known: Segments) -> Segments:
    """Extend a layout by the tokens that were not seen yet; they are a new question.

    The text of the turns before becomes history, as in a conversation that is sent whole.

    Args:
        processor: the model's processor.
        input_ids: int64 `[B, N]`, the whole conversation.
        mask: `[B, N]`, 0 for padding, or None.
        known: layout of the first tokens, `[B, S]`.

    Returns:
        `[B, N]`; the last of the new tokens is `last`.

    Raises:
        RefusedError: there is nothing new, or a new video.
    """
    start = known.shape[1]
    ids = input_ids[:, start:].cpu()
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask[:, start:].cpu().bool()
    if not real.any(1).all():
        raise RefusedError(
            f"the cache has seen {start} tokens and the prompt brings no new ones: "
            "pass the whole conversation as input_ids"
        )
    family = family_of_processor(processor)
    fresh = [row[kept] for row, kept in zip(ids.numpy(), real.numpy(), strict=True)]
    rows = [RowRoles(processor, family, row, recall(row)) for row in fresh]
    for row in rows:
        if row.has_video:
            raise RefusedError("a follow-up turn brings a new video: start a new cache")
        row.place_video(iter(()), None)
        row.place_text(processor, follows=True)
    past, new = as_history(known), gathered(rows, real)
    return Segments(
        torch.cat([past.role, new.role], 1),
        torch.cat([past.frame, new.frame], 1),
        torch.cat([past.option, new.option], 1),
    )


def as_history(segments: Segments) -> Segments:
    """The layout of a conversation to which another turn is added.

    Prompts without a video, or whose roles are not known, stay as they are: no plan covers them.
    """
    shown = (segments.role == Role.VIDEO).any(1, keepdim=True)
    turn = torch.isin(segments.role, torch.tensor(TURN, dtype=segments.role.dtype)) & shown
    role = segments.role.masked_fill(turn, int(Role.HISTORY))
    return replace(segments, role=role, option=segments.option.masked_fill(turn, -1))
