"""Helpers shared by the readers: parsing JSON files, and making a sample from one entry."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune.errors import BadInputError
from prune.inputs.sample import NO_ANSWER, Medium, Sample
from prune.io.untrusted import read_json

MAX_BYTES = 256 * 2**20


def entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a JSON file, a list or an object, each with its name for messages."""
    content = read_json(path, "a benchmark's questions", MAX_BYTES)
    if not isinstance(content, list | dict):
        raise BadInputError(f"{path}: not a benchmark's questions: expected a list or an object")
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, entry in pairs:
        where = f"{path}: entry {key}"
        if not isinstance(entry, dict):
            raise BadInputError(f"{where}: expected an object")
        yield where, entry


def question(
    where: str,
    entry: dict[str, Any],
    id: str,
    task: str,
    video: Path,
    asked: str = "question",
    options: str = "candidates",
    answer: str = "answer",
    bounded: bool = False,
    medium: Medium = "video",
) -> Sample:
    """A sample from an entry.

    Args:
        where: name of the entry in messages.
        entry: of the file.
        id, task, video: of the sample.
        asked, options, answer: the entry's fields; the answer is the text of an option, or its
            index.
        bounded: whether the entry's `start` and `end`, in seconds, bound the clip.
        medium: what `video` is shown as.

    Raises:
        BadInputError: a field is missing, or the answer is no option.
    """
    try:
        choices = [str(option) for option in entry[options]]
        right = entry[answer]
        index = right if isinstance(right, int) else choices.index(right)
        if not 0 <= index < len(choices):
            raise ValueError(f"the answer {right!r} is none of {len(choices)} options")
        start, end = (float(entry["start"]), float(entry["end"])) if bounded else (None, None)
        asks = str(entry[asked])
        return Sample(id, video, asks, tuple(choices), index, task, start, end, medium=medium)
    except KeyError as error:
        raise BadInputError(f"{where}: no field {error}") from None
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{where}: {error}") from None


def open_question(
    where: str,
    entry: dict[str, Any],
    id: str,
    task: str,
    video: Path,
    asked: str,
    reply: str,
    medium: Medium = "video",
) -> Sample:
    """A sample without options from an entry.

    Args:
        where, entry, id, task, video, medium: as in `question`.
        asked, reply: the entry's fields, both texts.

    Raises:
        BadInputError: a field is missing or empty.
    """
    texts = {name: entry.get(name) for name in (asked, reply)}
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise BadInputError(f"{where}: no text in field {name!r}")
    return Sample(
        id, video, str(texts[asked]), (), NO_ANSWER, task, medium=medium, reply=str(texts[reply])
    )


def clip_named(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path:
    """The clip of this name, whichever suffix it has; with the first one if there is none."""
    paths = [folder / f"{name}{suffix}" for suffix in suffixes]
    return next((path for path in paths if path.is_file()), paths[0])
