"""Roles of the tokens of one prompt, from its media and the turns of its text."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from prune.errors import BadInputError
from prune.families.family import Family, Medium
from prune.inputs.chat_format import Turns, find_turns
from prune.inputs.prompts import find_options
from prune.inputs.written import TokenSpans
from prune.layout.role import Role
from prune.layout.tokens import token_starts

_MEDIUM = "\ue000"
"""Stands in the text for a run of video or image tokens: a character of private use."""


@dataclass(frozen=True)
class _Text:
    """A piece of text between media.

    Attributes:
        first: its first token in the prompt.
        starts: offset of every token in the piece.
        text: of the piece.
        start, stop: of the piece in the whole text.
    """

    first: int
    starts: list[int]
    text: str
    start: int
    stop: int

    @property
    def end(self) -> int:
        """The token behind its last one in the prompt."""
        return self.first + len(self.starts)

    def token_at(self, offset: int) -> int:
        """The first token in the prompt that belongs to what stands at an offset, or behind it.

        A token belongs where its first visible character does: " Question" is question.
        """
        at = offset - self.start
        token = bisect_left(self.starts, at)
        if token:
            start = self.starts[token - 1]
            stop = self.starts[token] if token < len(self.starts) else len(self.text)
            token -= start + _blank(self.text[start:stop]) >= at
        return self.first + token


class RowRoles:
    """Roles, frames and options of the tokens of one prompt.

    Attributes:
        role, frame, option: int8, int32 and int32 `[S]` (`prune.layout.segments.Segments`).
        known: whether the prompt's turns could be found; if not, all tokens are `answer`, which
            read each other.
    """

    def __init__(
        self,
        processor: Any,
        family: Family,
        ids: np.ndarray,
        written: TokenSpans | None,
        media: Sequence[Medium] | None = None,
    ):
        """Find the media and the text of a prompt.

        Args:
            processor: the model's.
            family: its family.
            ids: tokens of the prompt, int64 `[S]`.
            written: its spans, if prune wrote it.
            media: where its media are, by whoever placed them; None to find them by their tokens.
        """
        self.role = np.full(len(ids), Role.SYSTEM, np.int8)
        self.frame = np.full(len(ids), -1, np.int32)
        self.option = np.full(len(ids), -1, np.int32)
        self.known = True
        self._family = family
        self._placed = media is not None
        self._media = family.media(processor, ids) if media is None else list(media)
        self._pieces, self._text = _pieces(processor.tokenizer, ids, self._media)
        self._special = _special(processor.tokenizer)
        self._written, self._images = written, written.images if written else 0
        videos = () if self._images else range(len(self._media))
        self._videos = [i for i in videos if self._is_video(i)]
        self._inside: set[int] = set()

    @property
    def has_video(self) -> bool:
        """Whether the prompt shows a video, or images that were written in place of one."""
        return bool(self._videos or self._images)

    @property
    def video_runs(self) -> int:
        """Number of runs of video tokens."""
        return len(self._videos)

    @property
    def video_tokens(self) -> int:
        """Number of tokens that stand for video features."""
        return sum(self._media[i].size for i in self._videos)

    def _is_video(self, index: int) -> bool:
        if self._placed or not self._family.images_alike or not self._media[index].video:
            return self._media[index].video
        return bool(self._announcement(index, self._family.announces))

    def _announcement(self, index: int, pattern: str) -> str:
        """What `pattern` matches at the end of the text before a medium."""
        piece = self._pieces[index]
        found = re.search(f"(?:{pattern})$", self._text[piece.start : piece.stop])
        return found[0] if found and pattern else ""

    def place_video(self, counts: Iterator[int] | None, per_frame: int | None) -> None:
        """Give video tokens their frames, and image tokens their role.

        Args:
            counts: number of frames of the videos to come; takes as many as the prompt has. None
                where the text alone tells videos apart.
            per_frame: tokens of a frame where all videos of the batch have as many, which tells
                apart videos without text between them; else None.

        Raises:
            BadInputError: video tokens without a video, or not evenly many for its frames.
        """
        if self._images:
            self._place_images()
            return
        for medium in self._media:
            self._fill(medium.start, medium.stop, Role.IMAGE, -1)
        place = self._frame_runs if self._family.frame_runs else self._whole_videos
        place(counts, per_frame)

    def _fill(self, start: int, stop: int, role: Role, frame: int) -> None:
        """Give some tokens a role and a frame."""
        self.role[start:stop], self.frame[start:stop] = role, frame

    def _frame_runs(self, counts: Iterator[int] | None, per_frame: int | None) -> None:
        left = 0
        for frame, index in enumerate(self._videos):
            if counts is not None:
                first, left = not left, (left or _next(counts)) - 1
            else:
                first = self._starts_video(index)
            medium, piece = self._media[index], self._pieces[index]
            self._fill(medium.start, medium.stop, Role.VIDEO, frame)
            if first:
                said = self._announcement(index, self._family.starts or self._family.announces)
                said = said or self._announcement(index, self._family.announces)
                start = piece.stop - len(said)
            else:
                start = piece.start
                self._inside.add(index)
            self._fill(piece.token_at(start), piece.end, Role.TIMESTAMP, frame)
        if left:
            raise BadInputError("the inputs hold more frames than the prompt has runs of tokens")

    def _place_images(self) -> None:
        """Make each image a frame.

        A run of tokens is an image. Only of equally large ones several may be one run, where no
        text stands between them, or one several, where it is split into tiles.
        """
        runs = len(self._media)
        tokens = [i for medium in self._media for i in range(medium.start, medium.stop)]
        even = len(tokens) % self._images == 0 and (runs % self._images == 0 or runs == 1)
        if runs != self._images != 1 and not (even and self._written and self._written.alike):
            raise BadInputError(
                f"{runs} runs of image tokens cannot be split evenly over {self._images} images: "
                "ask about each alone, or make them equally large"
            )
        for index, medium in enumerate(self._media):
            frame = index * self._images // runs
            self._fill(medium.start, medium.stop, Role.VIDEO, frame)
            if index:
                before = self._pieces[index]
                self._fill(before.first, before.end, Role.TIMESTAMP, frame)
        if runs < self._images:
            self.frame[tokens] = np.arange(len(tokens)) * self._images // len(tokens)

    def _starts_video(self, index: int) -> bool:
        """Whether a frame is the first of its video, by the text before it."""
        if index - 1 not in self._videos or self._announcement(index, self._family.starts):
            return True
        said = self._announcement(index, self._family.announces)
        piece = self._pieces[index]
        return bool(self._words(piece.start, piece.stop - len(said)))

    def _whole_videos(self, counts: Iterator[int] | None, per_frame: int | None) -> None:
        first = 0
        for index in self._videos:
            run, left = self._media[index], self._media[index].size
            while left:
                count = _next(counts)
                size = left if per_frame is None else count * per_frame + self._family.extra_tokens
                tokens = size - self._family.extra_tokens
                if tokens <= 0 or tokens % count or size > left:
                    raise BadInputError(
                        f"{left - self._family.extra_tokens} video tokens cannot be split evenly "
                        f"over {count} frames"
                    )
                start, each = run.stop - left, tokens // count
                for frame in range(count):
                    last = frame == count - 1
                    stop = start + (size if last else (frame + 1) * each)
                    self._fill(start + frame * each, stop, Role.VIDEO, first + frame)
                first, left = first + count, left - size

    def place_text(self, processor: Any, follows: bool = False) -> None:
        """Give text tokens their roles.

        Args:
            processor: the model's.
            follows: whether the prompt continues a conversation whose beginning is not in it.
        """
        if not self._place_written():
            turns = find_turns(processor, self._text)
            if turns is None and follows:
                turns = Turns(0, 0, 0, len(self._text), "")
            if turns is None:
                self.known = False
                self.role[:], self.frame[:] = Role.ANSWER, -1
                return
            self._place_turns(turns, follows)
        self.role[-1], self.frame[-1], self.option[-1] = Role.LAST, -1, -1

    def _place_written(self) -> bool:
        """Use the spans of a prompt that prune wrote; whether it did."""
        spans = self._written
        if spans is None:
            return False
        size = len(self.role)
        shown = self._media if self._images else [self._media[i] for i in self._videos]
        after = shown[-1].stop if shown else 0
        asked = size + spans.question[0]
        self._paint(after, asked, Role.BRIDGE)
        if spans.turn is not None:
            self._paint(after, size + spans.turn, Role.HISTORY)
        self._paint(max(after, asked), size, Role.TAIL)
        self._paint(max(after, asked), size + spans.question[1], Role.QUESTION)
        for index, (start, stop) in enumerate(spans.options):
            self._paint(max(after, size + start), size + stop, Role.OPTIONS, index)
        return True

    def _paint(self, start: int, stop: int, role: Role, option: int = -1) -> None:
        """Give some text tokens a role; all but `OPTIONS` are of no option."""
        self.role[start:stop], self.option[start:stop] = role, option

    def _place_turns(self, turns: Turns, follows: bool) -> None:
        """Roles from the structure of a prompt that someone else wrote."""
        first_video = self._media[self._videos[0]].start if self._videos else len(self.role)
        shown = self._pieces[self._videos[0]].stop if self._videos else len(self._text)
        # In a turn that is over, what stands around its video is what it was in that turn.
        opened = self._text.rfind(turns.opener, 0, shown) if turns.opener else shown
        around = self._words(opened + len(turns.opener), shown)
        words = [self._words_of(index, turns) for index in range(len(self._pieces))]
        final = max((i for i, found in enumerate(words) if found), default=len(words))
        options = self._options(words)
        bounds = [*(start for start, _ in options), *(stop for _, stop in options[-1:])]
        asked = min([turns.end, *(found[0] for found in words[final : final + 1] if found)])
        told = 0 if follows else turns.first
        for index, piece in enumerate(self._pieces):
            early = piece.first < first_video and not follows
            # Behind the turn's own text stands what announces the next frame.
            announced = np.flatnonzero(self.role[piece.first : piece.end] == Role.TIMESTAMP)
            end = piece.first + int(announced[0]) if len(announced) else piece.end
            paint = partial(self._paint_text, piece, end)
            tail = piece.first if index > final else min(end, piece.token_at(asked))
            self._paint(piece.first, tail, Role.SYSTEM if early else Role.BRIDGE)
            self._paint(tail, end, Role.TAIL)
            if found := words[index]:
                paint(found[0], min([found[1], *bounds[:1]]), Role.QUESTION)
                for option, (start, stop) in enumerate(pairwise(bounds)):
                    paint(start, stop, Role.OPTIONS, option)
            paint(told, turns.last, Role.HISTORY)
            if early:
                paint(max(told, opened), turns.last, Role.SYSTEM)
                if around:
                    start, stop = max(told, opened, around[0]), min(turns.last, around[1])
                    paint(start, stop, Role.HISTORY)

    def _paint_text(
        self, piece: _Text, end: int, start: int, stop: int, role: Role, option: int = -1
    ) -> None:
        """Give what stands between two places a role, in a piece's tokens before `end`."""
        if start < stop:
            places = piece.token_at(start), min(end, piece.token_at(stop))
            self._paint(*places, role, option)

    def _words_of(self, index: int, turns: Turns) -> tuple[int, int] | None:
        """The user's words in a piece of the last turn."""
        piece = self._pieces[index]
        if index in self._inside:
            return None
        start, stop = max(piece.start, turns.content), min(piece.stop, turns.end)
        return self._words(start, stop, turns.opener)

    def _options(self, words: Sequence[tuple[int, int] | None]) -> list[tuple[int, int]]:
        """Spans of the options that the last piece which lists some lists."""
        for found in reversed(words):
            if found and (options := find_options(self._text[slice(*found)])):
                return [(found[0] + start, found[0] + stop) for start, stop in options]
        return []

    def _words(self, start: int, stop: int, opener: str = "") -> tuple[int, int] | None:
        """Where the user's words in a part of the text start and stop, without what is written
        around them: white space, special tokens, and what announces and closes a video."""
        if start >= stop:
            return None
        family = self._family
        before = (family.closes, r"\s", self._special, re.escape(opener))
        found = _several(before, "*").match(self._text, start, stop)
        begin = found.end() if found else start
        behind: tuple[str, ...] = (r"\s", self._special)
        if stop < len(self._text) and self._text[stop] == _MEDIUM:
            behind += (family.starts, family.announces)
        cut = _several(behind, r"+\Z").search(self._text[begin:stop])
        end = begin + cut.start() if cut else stop
        return (begin, end) if begin < end else None


def _next(counts: Iterator[int] | None) -> int:
    count = 0 if counts is None else next(counts, 0)
    if not count:
        raise BadInputError("the prompt has more videos than the inputs hold pixels for")
    return count


def _pieces(tokenizer: Any, ids: np.ndarray, media: list[Medium]) -> tuple[list[_Text], str]:
    """The text before, between and behind media, and all of it with `_MEDIUM` for each."""
    pieces, text = [], ""
    edges = [*((medium.start, medium.stop) for medium in media), (len(ids), len(ids))]
    first = 0
    for start, stop in edges:
        piece, starts = token_starts(tokenizer, ids[first:start])
        pieces.append(_Text(first, starts, piece, len(text), len(text) + len(piece)))
        text += piece + _MEDIUM
        first = stop
    return pieces, text.removesuffix(_MEDIUM)


def _blank(piece: str) -> int:
    """Length of the white space before the first visible character; 0 if there is none."""
    return len(piece) - len(piece.lstrip()) if piece.strip() else 0


def _special(tokenizer: Any) -> str:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return _alternatives(tuple(sorted({token.content for token in added if token.special})))


@lru_cache(maxsize=64)
def _several(parts: tuple[str, ...], ending: str) -> re.Pattern[str]:
    """Of some regular expressions, empty ones left out, one for a row of what they match."""
    return re.compile(f"(?:{'|'.join(filter(None, parts))}){ending}")


@lru_cache(maxsize=64)
def _alternatives(tokens: tuple[str, ...]) -> str:
    """A regular expression that matches each of some tokens, the longest first."""
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
