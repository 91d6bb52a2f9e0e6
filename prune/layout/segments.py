"""Roles: what every token of a prompt is for, and which frame or option it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from prune.errors import BadInputError
from prune.families import family_of_processor
from prune.inputs.prompts import Spans, spans_after_video


class Role(IntEnum):
    """Roles partition a prompt; the numbers index reach tables."""

    SYSTEM = 0
    VIDEO = 1
    TIMESTAMP = 2
    BRIDGE = 3
    QUESTION = 4
    OPTIONS = 5
    TAIL = 6
    LAST = 7
    ANSWER = 8


NUM_ROLES = len(Role)


@dataclass(frozen=True)
class Segments:
    """The layout of a batch of prompts.

    Attributes:
        role: int8 `[B, S]`, a `Role`, or -1 for padding.
        frame: int32 `[B, S]`, index of the frame (temporal unit) a video or timestamp token
            belongs to, else -1.
        option: int32 `[B, S]`, index of the option an options token belongs to, else -1.
    """

    role: Tensor
    frame: Tensor
    option: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """`(B, S)`."""
        return self.role.shape[0], self.role.shape[1]

    def row(self, index: int) -> "Segments":
        """The prompt of one batch row, without its padding: a batch of one."""
        real = self.role[index] >= 0
        columns = (self.role, self.frame, self.option)
        return Segments(*(column[index, real][None] for column in columns))

    def resized(self, length: int) -> "Segments":
        """The first `length` columns; `answer` tokens follow the prompt where it is shorter."""
        extra = length - self.shape[1]
        if extra <= 0:
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


def token_starts(tokenizer: Any, ids: list[int]) -> tuple[str, list[int]]:
    """The text of `ids`, and for every token the offset of its first character in it."""

    def decode(part: list[int]) -> str:
        return tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    # Prefix by prefix: tokenizers of the sentencepiece kind drop a space when a token stands alone.
    starts = [len(decode(ids[:i])) for i in range(len(ids))]
    return decode(ids), starts


def label_text(tokenizer: Any, ids: list[int]) -> tuple[list[int], list[int]]:
    """Roles and options of the text tokens after the last video token, or of a later turn."""
    text, starts = token_starts(tokenizer, ids)
    spans: Spans = spans_after_video(text)
    roles: list[int] = []
    options: list[int] = []
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        piece = text[start:stop]
        # A token belongs where its first visible character does: " Question" is question.
        at = start + len(piece) - len(piece.lstrip()) if piece.strip() else start
        option = spans.option_at(at)
        if option >= 0:
            roles.append(Role.OPTIONS)
        elif at < spans.question_start:
            roles.append(Role.BRIDGE)
        elif at < spans.question_stop:
            roles.append(Role.QUESTION)
        else:
            roles.append(Role.TAIL)
        options.append(option)
    return roles, options


def _segment_row(
    tokenizer: Any, ids: list[int], frame_of: dict[int, int]
) -> tuple[list[int], list[int], list[int]]:
    """Role, frame and option of every token of one prompt without padding."""
    size = len(ids)
    role, frame, option = [int(Role.SYSTEM)] * size, [-1] * size, [-1] * size
    if frame_of:
        final = max(frame_of)
        following = -1
        for position in range(final, min(frame_of) - 1, -1):
            following = frame_of.get(position, following)
            role[position] = Role.VIDEO if position in frame_of else Role.TIMESTAMP
            frame[position] = following
        role[final + 1 :], option[final + 1 :] = label_text(tokenizer, ids[final + 1 :])
    role[-1], frame[-1], option[-1] = Role.LAST, -1, -1
    return role, frame, option


def segment(processor: Any, inputs: Any) -> Segments:
    """Assign every prompt token its role, frame and option.

    Args:
        processor: the model's processor; its family must be known (`prune.families`).
        inputs: what the processor returned: `input_ids` int64 `[B, S]`, `attention_mask` `[B, S]`
            (optional), and the video tensors from which the number of frames follows. Several
            videos in a prompt need text between them.

    Returns:
        The layout, on the CPU.

    Raises:
        BadInputError: the processor's family is unknown, or video tokens and frames do not match.
    """
    family = family_of_processor(processor)
    input_ids = inputs["input_ids"].cpu()
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else mask.cpu()
    counts = iter(family.frame_counts(inputs))
    batch, width = input_ids.shape
    role = torch.full((batch, width), -1, dtype=torch.int8)
    frame = torch.full((batch, width), -1, dtype=torch.int32)
    option = torch.full((batch, width), -1, dtype=torch.int32)
    for b in range(batch):
        real = mask[b].bool()
        ids = input_ids[b, real].tolist()
        frame_of = family.frames(family.is_video(processor, ids), counts)
        r, f, o = _segment_row(processor.tokenizer, ids, frame_of)
        role[b, real] = torch.tensor(r, dtype=torch.int8)
        frame[b, real] = torch.tensor(f, dtype=torch.int32)
        option[b, real] = torch.tensor(o, dtype=torch.int32)
    if not family.frame_runs and next(counts, None) is not None:
        raise BadInputError(
            "the inputs hold more videos than the prompts have runs of video tokens"
        )
    return Segments(role, frame, option)
