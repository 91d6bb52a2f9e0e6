"""`Sample`: one question about a video or images, and how it is asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prune.inputs.boxes import ObjectBox, named_in
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING, Wording, letter

ALL_TASKS = "all"
"""The task of lines that name none, and the row of all tasks in tables."""

NO_ANSWER = -1
"""The answer of an open question, which has no options."""

Medium = Literal["video", "image"]
"""What a sample shows: a video, or images, which go through the processor's path for images."""


Turn = tuple[str, str]
"""What a user said, and what the model replied."""


@dataclass(frozen=True)
class Sample:
    """One question, and how it is asked.

    Attributes:
        video: absolute path of a video, an image or a folder of images; or of several images, which
            are its frames.
        options: the answer options; none of an open question.
        answer: index of the true option, `NO_ANSWER` of an open question.
        start, end: seconds of the video that the question is about.
        cue: what the prompt ends with; the model's next token is the letter of its answer.
        media: how a command reads clips.
        own: what the sample itself says of that, which has precedence.
        medium: `image` if the files are shown as images, one each, not as a video.
        reply: a reply to an open question that others wrote, if there is one.
        wording: what the prompt says around the question.
        turns: the turns before the question, about the same media: what was asked, and the reply.
        boxes: where known objects are.
    """

    id: str
    video: Path | tuple[Path, ...]
    question: str
    options: tuple[str, ...]
    answer: int
    task: str
    start: float | None = None
    end: float | None = None
    cue: str = ANSWER_CUE
    media: Media = DEFAULT_MEDIA
    own: Media = DEFAULT_MEDIA
    medium: Medium = "video"
    reply: str | None = None
    wording: Wording = DEFAULT_WORDING
    turns: tuple[Turn, ...] = ()
    boxes: tuple[ObjectBox, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the model replies in its own words, for want of options."""
        return not self.options

    @property
    def files(self) -> tuple[Path, ...]:
        """The video's file or folder, or its images."""
        return self.video if isinstance(self.video, tuple) else (self.video,)

    @property
    def reading(self) -> Media:
        """How the sample's clip is read."""
        return self.own.over(self.media)

    @property
    def named_boxes(self) -> tuple[ObjectBox, ...]:
        """The boxes of objects that the question with its true option, or its reply, names."""
        answer = (self.reply or "") if self.is_open else self.options[self.answer]
        return tuple(named_in(self.boxes, f"{self.question} {answer}"))

    @property
    def letters(self) -> list[str]:
        """The options' letters."""
        return [letter(i) for i in range(len(self.options))]
