"""Data sets: JSONL of multiple-choice questions about video files.

A line is `{"id", "video", "question", "options", "answer", "task"}`, and `start`, `end` in seconds
where the question is about a part of the video. `video` is relative to the file; `answer` is the
text of one of the options, or its index from 0.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prune.errors import BadInputError
from prune.inputs.prompts import ANSWER_CUE, letter
from prune.io.files import write_atomically

MAX_LINE = 2**20


@dataclass(frozen=True)
class Sample:
    """One question, and how it is asked.

    Attributes:
        video: an absolute path.
        options: the answer options; none of an open question.
        answer: index of the true option.
        start, end: seconds of the video that the question is about.
        cue: what the prompt ends with; the model's next token is the letter of its answer.
    """

    id: str
    video: Path
    question: str
    options: tuple[str, ...]
    answer: int
    task: str
    start: float | None = None
    end: float | None = None
    cue: str = ANSWER_CUE

    @property
    def letters(self) -> list[str]:
        """The options' letters."""
        return [letter(i) for i in range(len(self.options))]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=256)]
    video: Annotated[str, Field(min_length=1)]
    question: Annotated[str, Field(min_length=1)]
    options: Annotated[list[str], Field(min_length=2, max_length=26)]
    answer: str | Annotated[int, Field(ge=0)]
    task: str = "all"
    start: float | None = None
    end: float | None = None


def _parse(line: bytes, folder: Path) -> Sample:
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} bytes")
    item = _Line.model_validate_json(line)
    answer = item.answer
    if isinstance(answer, str):
        if item.options.count(answer) != 1:
            raise ValueError(
                f"the answer {answer!r} must be exactly one of the options {item.options}"
            )
        answer = item.options.index(answer)
    elif answer >= len(item.options):
        raise ValueError(f"the answer {answer} is none of {len(item.options)} options")
    relative = Path(item.video)
    if relative.is_absolute() or ".." in relative.parts or ":" in item.video:
        raise ValueError(f"video {item.video!r} must be a path below the data set's folder")
    return Sample(
        item.id,
        folder / relative,
        item.question,
        tuple(item.options),
        answer,
        item.task,
        item.start,
        item.end,
    )


def load_samples(path: str | Path, cue: str = ANSWER_CUE) -> list[Sample]:
    """Read a data set.

    Args:
        path: JSONL.
        cue: what the prompts of its samples end with.

    Raises:
        BadInputError: it cannot be read, or a line is bad; the first such line is named.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadInputError(f"{path}: cannot read the data set: {error.strerror}") from None
    samples: dict[str, Sample] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            sample = replace(_parse(line, path.parent.resolve()), cue=cue)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "line"
            raise BadInputError(f"{path}:{number}: {place}: {first['msg']}") from None
        except ValueError as error:
            raise BadInputError(f"{path}:{number}: {error}") from None
        if sample.id in samples:
            raise BadInputError(f"{path}:{number}: id {sample.id!r} appears twice")
        samples[sample.id] = sample
    if not samples:
        raise BadInputError(f"{path}: the data set is empty")
    return list(samples.values())


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write a data set, whole or not at all; its videos must lie below the file's folder.

    Raises:
        BadInputError: a video does not.
    """
    folder = path.parent.resolve()
    lines = []
    for s in samples:
        if not s.video.is_relative_to(folder):
            raise BadInputError(f"{path}: {s.video} does not lie below the file's folder")
        unique = s.options.count(s.options[s.answer]) == 1
        line: dict[str, Any] = {
            "id": s.id,
            "video": str(s.video.relative_to(folder)),
            "question": s.question,
            "options": list(s.options),
            "answer": s.options[s.answer] if unique else s.answer,
            "task": s.task,
        }
        bounds = {"start": s.start, "end": s.end}
        line.update({key: value for key, value in bounds.items() if value is not None})
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines))


def fingerprint(samples: Sequence[Sample]) -> str:
    """SHA-256 over questions, answers and the bytes of the videos that exist, in order."""
    digest = hashlib.sha256()
    for s in samples:
        digest.update(
            json.dumps([s.id, s.question, s.options, s.answer, s.task, s.start, s.end]).encode()
        )
        if s.video.is_file():
            digest.update(s.video.read_bytes())
    return digest.hexdigest()
