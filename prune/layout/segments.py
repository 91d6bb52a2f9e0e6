"""Segments: the role of every token of a prompt, and the frame or option it belongs to."""

import warnings
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from prune.errors import BadInputError, RefusedError
from prune.families import Family, family_of_processor
from prune.families.family import Medium
from prune.inputs.written import recall
from prune.layout.role import NUM_ROLES as NUM_ROLES
from prune.layout.role import Role as Role
from prune.layout.roles import RowRoles


@dataclass(frozen=True)
class Segments:
    """The layout of a batch of prompts.

    Attributes:
        role: int8 `[B, S]`, a `Role`, or -1 for padding.
        frame: int32 `[B, S]`, index of the frame (temporal unit) a video or timestamp token
            belongs to, else -1.
        option: int32 `[B, S]`, index of the option an options token belongs to, else -1.
        marks: of a batch of one, further tokens by name, bool `[S]` (`MarkedRole`).
    """

    role: Tensor
    frame: Tensor
    option: Tensor
    marks: Mapping[str, Tensor] = field(default_factory=dict, compare=False, kw_only=True)

    @property
    def shape(self) -> tuple[int, int]:
        """`(B, S)`."""
        return self.role.shape[0], self.role.shape[1]

    @cached_property
    def has_video(self) -> bool:
        """Whether any prompt has a video whose roles are known."""
        return bool((self.role.numpy() == Role.VIDEO).any())

    @cached_property
    def unknown(self) -> Tensor:
        """Which prompts have a video but no known roles, so that all tokens are `answer`: `[B]`."""
        role = self.role.numpy()
        unknown = (role == Role.ANSWER).any(1) & ~(role == Role.LAST).any(1)
        return torch.from_numpy(unknown)

    def row(self, index: int) -> "Segments":
        """The prompt of one batch row, without its padding: a batch of one."""
        real = self.role[index] >= 0
        columns = (self.role, self.frame, self.option)
        return Segments(*(column[index, real][None] for column in columns))

    def resized(self, length: int) -> "Segments":
        """The first `length` columns; `answer` tokens follow the prompt where it is shorter."""
        extra = length - self.shape[1]
        if not extra:
            return self
        if extra < 0:
            return Segments(*(c[:, :length] for c in (self.role, self.frame, self.option)))
        pad = torch.nn.functional.pad
        return Segments(
            pad(self.role, (0, extra), value=int(Role.ANSWER)),
            pad(self.frame, (0, extra), value=-1),
            pad(self.option, (0, extra), value=-1),
        )

    def repeated(self, times: int) -> "Segments":
        """Every row `times` times, in place."""
        columns = (self.role, self.frame, self.option)
        return Segments(*(column.repeat_interleave(times, 0) for column in columns))

    def runs(self) -> list[tuple[int, int, int]]:
        """The first row as `(role, frame, tokens)` of each run of equal tokens, for files."""
        pairs = zip(self.role[0].tolist(), self.frame[0].tolist(), strict=True)
        return [(role, frame, len(list(run))) for (role, frame), run in groupby(pairs)]

    @staticmethod
    def of_runs(runs: Sequence[Sequence[int]]) -> "Segments":
        """A batch of one from what `runs` returned; options are not kept."""
        role = [r for r, _, n in runs for _ in range(n)]
        frame = [f for _, f, n in runs for _ in range(n)]
        return Segments(
            torch.tensor([role], dtype=torch.int8),
            torch.tensor([frame], dtype=torch.int32),
            torch.full((1, len(role)), -1, dtype=torch.int32),
        )

    def count(self, role: Role) -> int:
        """Number of tokens of a role in the whole batch."""
        return int((self.role == role).sum())


class UnknownRolesWarning(UserWarning):
    """A prompt is in no chat format that prune knows, so it runs dense."""


def segment(processor: Any, inputs: Any, strict: bool = False) -> Segments:
    """Assign every prompt token its role, frame and option.

    In a prompt that prune wrote (`prune.ask`, every command), roles are those it was written for.
    In others they follow from the turns of the chat template: the last user's words are the
    question, turns before it are history.

    Args:
        processor: the model's processor; its family must be known (`prune.families`).
        inputs: what the processor returned: `input_ids` int64 `[B, S]`, `attention_mask` `[B, S]`
            (optional), and the video tensors from which the number of frames follows.
        strict: refuse a prompt with a video whose roles cannot be known. Else a warning says so,
            and its tokens are all `answer`: a plan leaves such a prompt dense.

    Returns:
        The layout, on the CPU.

    Raises:
        BadInputError: the processor's family is unknown, or video tokens and frames do not match.
        RefusedError: `strict`, and a prompt is in no known chat format.
    """
    family = family_of_processor(processor)
    input_ids = inputs["input_ids"].cpu()
    mask = inputs.get("attention_mask")
    real = torch.ones_like(input_ids).bool() if mask is None else mask.cpu().bool()
    rows = [ids[kept] for ids, kept in zip(input_ids.numpy(), real.numpy(), strict=True)]
    listed = family.frame_counts(inputs)
    written = tuple(recall(ids) for ids in rows)
    contents = (
        *(ids.tobytes() for ids in rows),
        real.numpy().tobytes(),
        None if listed is None else tuple(listed),
        written,
        *(str(getattr(x, "chat_template", None)) for x in (processor, processor.tokenizer)),
    )
    recent = _RECENT.setdefault(processor, OrderedDict())
    found = recent.get(contents)
    if found is None:
        roles = [RowRoles(processor, family, *row) for row in zip(rows, written, strict=True)]
        found = _placed(processor, family, roles, listed, real)
        if not all(row.known for row in roles):
            say_unknown(processor, strict)
            return found
        recent[contents] = found
        while len(recent) > MOST_RECENT:
            recent.popitem(last=False)
    return found


MOST_RECENT = 64

_RECENT: WeakKeyDictionary[Any, OrderedDict[Hashable, Segments]] = WeakKeyDictionary()
"""Layouts of the latest batches, by processor and contents: the same prompt may be asked again, and
several plans of a search are."""


def _placed(
    processor: Any,
    family: Family,
    rows: Sequence[RowRoles],
    listed: Sequence[int] | None,
    real: Tensor,
) -> Segments:
    """The layout of rows whose videos have `listed` frames; see `segment`."""
    counts = None if listed is None else iter(listed)
    per_frame = _per_frame(family, rows, listed)
    for row in rows:
        row.place_video(counts, per_frame)
        if row.has_video:
            row.place_text(processor)
        elif len(row.role):
            row.role[-1] = Role.LAST
    if counts is not None and next(counts, None) is not None:
        raise BadInputError("the inputs hold more videos than the prompts have tokens for")
    return gathered(rows, real)


def segment_row(
    processor: Any, ids: Sequence[int], media: Sequence[Medium], counts: Sequence[int]
) -> Segments:
    """`segment` for one prompt whose media were placed by a server, which knows where they are.

    Args:
        processor: the model's processor; its family must be known (`prune.families`).
        ids: tokens of the prompt, at least one.
        media: its runs of video and image tokens, in order.
        counts: number of frames (temporal units) of every video.

    Returns:
        A batch of one. Where the roles cannot be known all tokens are `answer`.

    Raises:
        BadInputError: the processor's family is unknown, or video tokens and frames do not match.
    """
    tokens = np.asarray(ids, np.int64)
    row = RowRoles(processor, family_of_processor(processor), tokens, recall(tokens), media)
    row.place_video(iter(counts), None)
    if row.has_video:
        row.place_text(processor)
    else:
        row.role[-1] = Role.LAST
    return gathered([row], torch.ones(1, len(ids), dtype=torch.bool))


def say_unknown(processor: Any, strict: bool) -> None:
    """Refuse a prompt whose roles cannot be known, or warn that it runs dense."""
    message = (
        f"a prompt is in no chat format that prune knows, nor in that of {type(processor).__name__}"
        ": it runs dense; write it with processor.apply_chat_template or prune.ask"
    )
    if strict:
        raise RefusedError(message)
    warnings.warn(message, UnknownRolesWarning, stacklevel=3)


def gathered(rows: Sequence[RowRoles], real: Tensor) -> Segments:
    """Rows of roles as a batch; `real` `[B, S]` tells tokens from padding."""
    there = real.numpy()
    role = np.full(there.shape, -1, np.int8)
    frame = np.full(there.shape, -1, np.int32)
    option = np.full(there.shape, -1, np.int32)
    for b, row in enumerate(rows):
        role[b, there[b]] = row.role
        frame[b, there[b]] = row.frame
        option[b, there[b]] = row.option
    return Segments(*(torch.from_numpy(x) for x in (role, frame, option)))


def _per_frame(
    family: Family, rows: Sequence[RowRoles], counts: Sequence[int] | None
) -> int | None:
    """Tokens of a frame where all of a batch's have as many, or None if that is not known."""
    runs = sum(row.video_runs for row in rows)
    # As a rule a run is a video; only videos without text between them are one run.
    if family.frame_runs or counts is None or len(counts) <= runs:
        return None
    tokens = sum(row.video_tokens for row in rows) - len(counts) * family.extra_tokens
    return None if tokens % sum(counts) else tokens // sum(counts)
