"""Data sets: JSONL of multiple-choice questions about video files.

A line is `{"id", "video", "question", "options", "answer", "task"}`, and `start`, `end` in seconds
where the question is about a part of the video. `video` is relative to the file; `answer` is the
text of one of the options, its letter, or its index from 0. Lines may have no task, or all have
one: `all` is the row of all tasks in every table.
"""

import codecs
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from prune.errors import BadInputError
from prune.inputs.answer_key import answer_index
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, letter
from prune.io.bounded import read_bounded
from prune.io.closed import ClosedModel
from prune.io.files import write_atomically
from prune.io.strict_json import parse_json

MAX_LINE = 2**20
MAX_IMAGES = 4096
"""Images that a line may name as the frames of its video."""

ALL_TASKS = "all"
"""The task of lines that name none, and the row of all tasks in tables."""


@dataclass(frozen=True)
class Sample:
    """One question, and how it is asked.

    Attributes:
        video: absolute path of a video, an image or a folder of images; or of several images, which
            are its frames.
        options: the answer options; none of an open question.
        answer: index of the true option.
        start, end: seconds of the video that the question is about.
        cue: what the prompt ends with; the model's next token is the letter of its answer.
        media: how a command reads clips.
        own: what the sample itself says of that, which has precedence.
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

    @property
    def files(self) -> tuple[Path, ...]:
        """The video's file or folder, or its images."""
        return self.video if isinstance(self.video, tuple) else (self.video,)

    @property
    def reading(self) -> Media:
        """How the sample's clip is read."""
        return self.own.over(self.media)

    @property
    def letters(self) -> list[str]:
        """The options' letters."""
        return [letter(i) for i in range(len(self.options))]


_Text = Annotated[str, Field(min_length=1)]


class _Line(ClosedModel):
    id: Annotated[_Text, Field(max_length=256)]
    video: _Text | Annotated[list[_Text], Field(min_length=1, max_length=MAX_IMAGES)]
    question: _Text
    options: Annotated[list[_Text], Field(min_length=2, max_length=26)]
    answer: str | Annotated[int, Field(ge=0)]
    task: _Text = ALL_TASKS
    start: Annotated[float, Field(ge=0)] | None = None
    end: Annotated[float, Field(gt=0)] | None = None
    sampling: str | None = None
    fps: float | None = None
    frame_rate: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None


def _parse(line: bytes, folder: Path) -> Sample:
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} bytes")
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError("expected an object: one question on each line")
    item = _Line.model_validate(value)
    if item.start is not None and item.end is not None and item.start >= item.end:
        raise ValueError(f"start {item.start} is not before end {item.end}")
    return Sample(
        item.id,
        _video(item.video, folder)
        if isinstance(item.video, str)
        else tuple(_video(name, folder) for name in item.video),
        item.question,
        tuple(item.options),
        answer_index(item.answer, item.options),
        item.task,
        item.start,
        item.end,
        own=Media(item.sampling, item.fps, item.frame_rate, item.min_pixels, item.max_pixels),
    )


def _video(name: str, folder: Path) -> Path:
    """The path of a line's video, in whichever Unicode form the disk has its name."""
    relative = Path(name)
    if "\0" in name:
        raise ValueError(f"video {name!r} holds a NUL character")
    forms = [folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    path = next((path for path in (folder / relative, *forms) if path.exists()), folder / relative)
    if relative.is_absolute() or ".." in relative.parts or (_is_url(name) and not path.exists()):
        raise ValueError(f"video {name!r} must be a path below the data set's folder")
    if "\\" in name and not path.exists():
        raise ValueError(f"video {name!r}: no such file: folders are separated by /")
    return path


def _is_url(name: str) -> bool:
    return re.match(r"[A-Za-z][\w+.-]*:", name) is not None


def load_samples(
    path: str | Path, cue: str = ANSWER_CUE, media: Media = DEFAULT_MEDIA
) -> list[Sample]:
    """Read a data set.

    Args:
        path: JSONL in UTF-8, with or without a byte order mark.
        cue: what the prompts of its samples end with.
        media: how clips are read of which a line says nothing.

    Raises:
        BadInputError: it cannot be read, or a line is bad; the first such line is named.
    """
    path = Path(path)
    try:
        data = read_bounded(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot read the data set: {error.strerror}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadInputError(f"{path}:1: the text is UTF-16: save it as UTF-8")
    samples: dict[str, Sample] = {}
    numbers: dict[str, int] = {}
    folder = path.parent.resolve()
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            sample = replace(_parse(line, folder), cue=cue, media=media)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadInputError(f"{path}:{number}: {place}: {first['msg']}") from None
        except (ValueError, OSError) as error:
            raise BadInputError(f"{path}:{number}: {error}") from None
        if sample.id in samples:
            raise BadInputError(
                f"{path}:{number}: id {sample.id!r} appears twice, first in line "
                f"{numbers[sample.id]}"
            )
        samples[sample.id], numbers[sample.id] = sample, number
    if not samples:
        raise BadInputError(f"{path}: the data set is empty")
    untasked = [name for name, sample in samples.items() if sample.task == ALL_TASKS]
    if 0 < len(untasked) < len(samples):
        raise BadInputError(
            f"{path}:{numbers[untasked[0]]}: its task is missing or {ALL_TASKS!r}, which stands "
            "for all tasks together, and other lines have tasks: name one"
        )
    return list(samples.values())


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write a data set, whole or not at all; its videos must lie below the file's folder.

    Raises:
        BadInputError: a video does not.
    """
    folder = path.parent.resolve()
    lines = []
    for s in samples:
        for file in s.files:
            if not file.is_relative_to(folder):
                raise BadInputError(f"{path}: {file} does not lie below the file's folder")
        names = [str(file.relative_to(folder)) for file in s.files]
        unique = s.options.count(s.options[s.answer]) == 1
        line: dict[str, Any] = {
            "id": s.id,
            "video": names if isinstance(s.video, tuple) else names[0],
            "question": s.question,
            "options": list(s.options),
            "answer": s.options[s.answer] if unique else s.answer,
            "task": s.task,
        }
        bounds = {"start": s.start, "end": s.end}
        line.update({key: value for key, value in bounds.items() if value is not None})
        line.update(s.own.given)
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines))
