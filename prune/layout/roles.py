"""Roles of the tokens of one prompt, from its media and the turns of its text."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prune.errors import BadInputError
from prune.families.family import Family, Medium
from prune.inputs.chat_format import Turns, find_turns
from prune.inputs.prompts import find_options
from prune.inputs.written import TokenSpans, recall
from prune.layout.role import Role
from prune.layout.tokens import token_starts

_MEDIUM = "\ue000"
"""Stands in the text for a run of video or image tokens: a character of private use."""


@dataclass(frozen=True)
class _Text:
    """A piece of text between media.

    Attributes:
        first: its first token in the prompt.
        starts: offset of every token in the whole text.
        start, stop: of the piece in the whole text.
    """

    first: int
    starts: list[int]
    start: int
    stop: int


class RowRoles:
    """Roles, frames and options of the tokens of one prompt.

    Attributes:
        role, frame, option: a number per token (`prune.layout.segments.Segments`).
        known: whether the prompt's turns could be found; if not, all tokens are `answer`, which
            read each other.
    """

    def __init__(
        self,
        processor: Any,
        family: Family,
        ids: list[int],
        media: Sequence[Medium] | None = None,
    ):
        """Find the media and the text of a prompt.

        Args:
            processor: the model's.
            family: its family.
            ids: tokens of the prompt.
            media: where its media are, by whoever placed them; None to find them by their tokens.
        """
        self.role = [int(Role.SYSTEM)] * len(ids)
        self.frame = [-1] * len(ids)
        self.option = [-1] * len(ids)
        self.known = True
        self._ids, self._family = ids, family
        self._placed = media is not None
        self._media = family.media(processor, ids) if media is None else list(media)
        self._pieces, self._text = _pieces(processor.tokenizer, ids, self._media)
        self._special = _special(processor.tokenizer)
        self._written: TokenSpans | None = recall(ids)
        self._images = self._written.images if self._written else 0
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
            self._fill(medium, Role.IMAGE, -1)
        place = self._frame_runs if self._family.frame_runs else self._whole_videos
        place(counts, per_frame)

    def _fill(self, medium: Medium, role: Role, frame: int) -> None:
        self.role[medium.start : medium.stop] = [int(role)] * medium.size
        self.frame[medium.start : medium.stop] = [frame] * medium.size

    def _frame_runs(self, counts: Iterator[int] | None, per_frame: int | None) -> None:
        left = 0
        for frame, index in enumerate(self._videos):
            if counts is not None:
                first, left = not left, (left or _next(counts)) - 1
            else:
                first = self._starts_video(index)
            self._fill(self._media[index], Role.VIDEO, frame)
            piece = self._pieces[index]
            if first:
                said = self._announcement(index, self._family.starts or self._family.announces)
                said = said or self._announcement(index, self._family.announces)
                start = piece.stop - len(said)
            else:
                start = piece.start
                self._inside.add(index)
            for token, at in enumerate(piece.starts, piece.first):
                if at >= start:
                    self.role[token], self.frame[token] = int(Role.TIMESTAMP), frame
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
            self._fill(medium, Role.VIDEO, frame)
            if index:
                before = self._pieces[index]
                for token in range(before.first, before.first + len(before.starts)):
                    self.role[token], self.frame[token] = int(Role.TIMESTAMP), frame
        if runs < self._images:
            for place, token in enumerate(tokens):
                self.frame[token] = place * self._images // len(tokens)

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
                start = run.stop - left
                for i in range(size):
                    self.role[start + i] = int(Role.VIDEO)
                    self.frame[start + i] = first + min(i // (tokens // count), count - 1)
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
                self.role = [int(Role.ANSWER)] * len(self._ids)
                self.frame = [-1] * len(self._ids)
                return
            self._place_turns(turns, follows)
        self.role[-1], self.frame[-1], self.option[-1] = int(Role.LAST), -1, -1

    def _place_written(self) -> bool:
        """Use the spans of a prompt that prune wrote; whether it did."""
        spans = self._written
        if spans is None:
            return False
        size = len(self._ids)
        shown = self._media if self._images else [self._media[i] for i in self._videos]
        after = shown[-1].stop if shown else 0
        for token in range(after, size):
            place = token - size
            self.role[token] = int(Role.BRIDGE if place < spans.question[0] else Role.TAIL)
            if spans.question[0] <= place < spans.question[1]:
                self.role[token] = int(Role.QUESTION)
            for index, (start, stop) in enumerate(spans.options):
                if start <= place < stop:
                    self.role[token], self.option[token] = int(Role.OPTIONS), index
        return True

    def _place_turns(self, turns: Turns, follows: bool) -> None:
        """Roles from the structure of a prompt that someone else wrote."""
        first_video = self._media[self._videos[0]].start if self._videos else len(self._ids)
        shown = self._pieces[self._videos[0]].stop if self._videos else len(self._text)
        # In a turn that is over, what stands around its video is what it was in that turn.
        opened = self._text.rfind(turns.opener, 0, shown) if turns.opener else shown
        around = self._words(opened + len(turns.opener), shown)
        words = [self._words_of(index, turns) for index in range(len(self._pieces))]
        final = max((i for i, found in enumerate(words) if found), default=len(words))
        options = self._options(words)
        starts = [start for start, _ in options]
        for index, piece in enumerate(self._pieces):
            early = piece.first < first_video and not follows
            for token, at in enumerate(piece.starts, piece.first):
                if self.role[token] == Role.TIMESTAMP:
                    continue
                option = bisect_right(starts, at) - 1
                if at < turns.last and (follows or at >= turns.first):
                    framing = (
                        early and at >= opened and not (around and around[0] <= at < around[1])
                    )
                    role = Role.SYSTEM if framing else Role.HISTORY
                elif options and options[0][0] <= at < options[-1][1] and words[index]:
                    role, self.option[token] = Role.OPTIONS, option
                elif (found := words[index]) and found[0] <= at < found[1] and option < 0:
                    role = Role.QUESTION
                elif at >= turns.end or index > final or self._is_behind(at, words[final:]):
                    role = Role.TAIL
                else:
                    role = Role.SYSTEM if early else Role.BRIDGE
                self.role[token] = int(role)

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

    @staticmethod
    def _is_behind(at: int, words: Sequence[tuple[int, int] | None]) -> bool:
        """Whether a place is behind the user's first words of these."""
        return bool(words and words[0] and at >= words[0][0])

    def _words(self, start: int, stop: int, opener: str = "") -> tuple[int, int] | None:
        """Where the user's words in a part of the text start and stop, without what is written
        around them: white space, special tokens, and what announces and closes a video."""
        if start >= stop:
            return None
        around = [self._family.closes, r"\s", self._special, re.escape(opener)]
        front = re.compile(f"(?:{'|'.join(part for part in around if part)})*")
        found = front.match(self._text, start, stop)
        begin = found.end() if found else start
        ends = [r"\s", self._special]
        if stop < len(self._text) and self._text[stop] == _MEDIUM:
            ends += [self._family.starts, self._family.announces]
        back = re.compile(f"(?:{'|'.join(part for part in ends if part)})+\\Z")
        cut = back.search(self._text[begin:stop])
        end = begin + cut.start() if cut else stop
        return (begin, end) if begin < end else None


def _next(counts: Iterator[int] | None) -> int:
    count = 0 if counts is None else next(counts, 0)
    if not count:
        raise BadInputError("the prompt has more videos than the inputs hold pixels for")
    return count


def _pieces(tokenizer: Any, ids: list[int], media: list[Medium]) -> tuple[list[_Text], str]:
    """The text before, between and behind media, and all of it with `_MEDIUM` for each."""
    pieces, text = [], ""
    edges = [*((medium.start, medium.stop) for medium in media), (len(ids), len(ids))]
    first = 0
    for start, stop in edges:
        piece, starts = token_starts(tokenizer, ids[first:start])
        lengths = zip(starts, [*starts[1:], len(piece)], strict=False)
        # A token belongs where its first visible character does: " Question" is question.
        visible = [
            len(text) + a + (_blank(piece[a:b]) if piece[a:b][:1].isspace() else 0)
            for a, b in lengths
        ]
        pieces.append(_Text(first, visible, len(text), len(text) + len(piece)))
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
def _alternatives(tokens: tuple[str, ...]) -> str:
    """A regular expression that matches each of some tokens, the longest first."""
    return "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
