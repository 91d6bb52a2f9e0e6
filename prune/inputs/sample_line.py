"""One line of a data set: parsing it into a `Sample`, and writing it.

A line is `{"id", "question"}` with one of `"video"` (a file or a folder of images), `"frames"` (a
list of images, in order), `"image"` and `"images"`; with `"options"` and `"answer"`, or, of an open
question, perhaps a `"reply"`; with `"messages"`, the turns before the question, about the same
media, each `{"role": "user" | "assistant", "content": TEXT}`; and with `"task"`, and `"start"` and
`"end"` in seconds where the question is about a part of the video; and with `"boxes"` of known
objects (`prune.inputs.boxes`). `answer` is the text of one of
the options, its letter, or its index from 0.
"""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from prune.inputs.answer_key import answer_index
from prune.inputs.boxes import MAX_BOXES, BoxLine, ObjectBox
from prune.inputs.media import Media
from prune.inputs.sample import ALL_TASKS, NO_ANSWER, Medium, Sample, Turn
from prune.io.closed import ClosedModel
from prune.io.strict_json import parse_json

MAX_LINE = 2**20
MAX_IMAGES = 4096
"""Images that a line may name."""
MAX_MESSAGES = 1024
"""Turns before the question, counting replies."""

_Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[list[_Text], Field(min_length=1, max_length=MAX_IMAGES)]


class _Part(ClosedModel):
    type: Literal["text"]
    text: _Text


class _Message(ClosedModel):
    role: Literal["user", "assistant"]
    content: _Text | Annotated[list[_Part], Field(min_length=1)]

    @property
    def text(self) -> str:
        """What is said."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class _Line(ClosedModel):
    id: Annotated[_Text, Field(max_length=256)]
    video: _Text | _Texts | None = None
    frames: _Texts | None = None
    image: _Text | None = None
    images: _Texts | None = None
    question: _Text
    options: Annotated[list[_Text], Field(min_length=2, max_length=26)] | None = None
    answer: str | Annotated[int, Field(ge=0)] | None = None
    reply: _Text | None = None
    messages: Annotated[list[_Message], Field(max_length=MAX_MESSAGES)] | None = None
    task: _Text = ALL_TASKS
    start: Annotated[float, Field(ge=0)] | None = None
    end: Annotated[float, Field(gt=0)] | None = None
    boxes: Annotated[list[BoxLine], Field(max_length=MAX_BOXES)] | None = None
    sampling: str | None = None
    fps: float | None = None
    frame_rate: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None

    def media(self) -> tuple[str, str | list[str], Medium]:
        """The field that names files, its value, and what the files are shown as."""
        named = {name: getattr(self, name) for name in ("video", "frames", "image", "images")}
        given = {name: value for name, value in named.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                f"{' and '.join(given) or 'no media'}: give one of video, frames, image and images"
            )
        ((name, value),) = given.items()
        return name, value, "image" if name.startswith("image") else "video"

    def turns(self) -> tuple[Turn, ...]:
        """The turns before the question."""
        said = self.messages or []
        users, replies = said[::2], said[1::2]
        roles = [message.role for message in said]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError(
                "messages: user and assistant must take turns, a reply last: the question is the "
                "next turn"
            )
        return tuple((u.text, r.text) for u, r in zip(users, replies, strict=True))

    def objects(self, is_image: bool) -> tuple[ObjectBox, ...]:
        """The boxes of known objects."""
        boxes = tuple(box.parsed() for box in self.boxes or ())
        if boxes and len(self.images or ()) > 1:
            raise ValueError("boxes: of several images: they name no image, so give one image")
        if is_image and (timed := [b for b in boxes if (b.start, b.end) != (None, None)]):
            raise ValueError(
                f"boxes: {timed[0].label!r}: start and end are for a video: images have no time"
            )
        return boxes

    def key(self) -> tuple[tuple[str, ...], int]:
        """Options, and the index of the true one."""
        if self.options is None:
            if self.answer is not None:
                raise ValueError(
                    "an answer without options: give options, or name it reply, for an open "
                    "question"
                )
            return (), NO_ANSWER
        if self.answer is None:
            raise ValueError("options without an answer: say which option is true")
        if self.reply is not None:
            raise ValueError("a reply beside options: replies belong to open questions")
        return tuple(self.options), answer_index(self.answer, self.options)


def parse_line(line: bytes, folder: Path) -> Sample:
    """The sample of a line.

    Args:
        line: JSON.
        folder: absolute, of the data set; media lie below it.

    Raises:
        ValueError: the line is bad (pydantic's `ValidationError` is one, too).
    """
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} bytes")
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError("expected an object: one question on each line")
    item = _Line.model_validate(value)
    field, names, medium = item.media()
    if item.start is not None and item.end is not None and item.start >= item.end:
        raise ValueError(f"start {item.start} is not before end {item.end}")
    own = Media(item.sampling, item.fps, item.frame_rate, item.min_pixels, item.max_pixels)
    if medium == "image":
        _check_image(item, own)
    options, answer = item.key()
    return Sample(
        item.id,
        _file(names, folder, field)
        if isinstance(names, str)
        else tuple(_file(name, folder, field) for name in names),
        item.question,
        options,
        answer,
        item.task,
        item.start,
        item.end,
        own=own,
        medium=medium,
        reply=item.reply,
        turns=item.turns(),
        boxes=item.objects(medium == "image"),
    )


def _check_image(item: _Line, own: Media) -> None:
    said = {"start": item.start, "end": item.end, "sampling": own.sampling, "fps": own.fps,
            "frame_rate": own.frame_rate}  # fmt: skip
    wrong = [name for name, value in said.items() if value is not None]
    if wrong:
        raise ValueError(f"{wrong[0]} is for a video: images have no time")


def _file(name: str, folder: Path, field: str) -> Path:
    """The path of a file, in whichever Unicode form the disk has its name."""
    relative = Path(name)
    if "\0" in name:
        raise ValueError(f"{field} {name!r} holds a NUL character")
    forms = [folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    path = next((path for path in (folder / relative, *forms) if path.exists()), folder / relative)
    if relative.is_absolute() or ".." in relative.parts or (_is_url(name) and not path.exists()):
        raise ValueError(f"{field} {name!r} must be a path below the data set's folder")
    if "\\" in name and not path.exists():
        raise ValueError(f"{field} {name!r}: no such file: folders are separated by /")
    return path


def _is_url(name: str) -> bool:
    return re.match(r"[A-Za-z][\w+.-]*:", name) is not None


def line_of(sample: Sample, name_of: Callable[[Path], str]) -> dict[str, Any]:
    """The line of a sample, as `parse_line` reads it.

    Args:
        sample: to write.
        name_of: the name of a file in the data set.
    """
    names = [name_of(file) for file in sample.files]
    several = isinstance(sample.video, tuple)
    field = {
        ("video", False): "video",
        ("video", True): "frames",
        ("image", False): "image",
        ("image", True): "images",
    }[sample.medium, several]
    line: dict[str, Any] = {
        "id": sample.id,
        field: names if several else names[0],
        "question": sample.question,
    }
    if not sample.is_open:
        unique = sample.options.count(sample.options[sample.answer]) == 1
        line["options"] = list(sample.options)
        line["answer"] = sample.options[sample.answer] if unique else sample.answer
    if sample.turns:
        line["messages"] = [
            {"role": role, "content": text}
            for turn in sample.turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
    optional = {"reply": sample.reply, "start": sample.start, "end": sample.end}
    line["task"] = sample.task
    line.update({key: value for key, value in optional.items() if value is not None})
    line.update(sample.own.given)
    if sample.boxes:
        line["boxes"] = [box.line for box in sample.boxes]
    return line
