"""Data sets: JSONL of questions about videos or images, one on each line (`sample_line`).

Media are relative to the file. Lines may have no task, or all have one: `all` is the row of all
tasks in every table.
"""

import codecs
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from prune.errors import BadInputError, UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING, Wording
from prune.inputs.sample import ALL_TASKS as ALL_TASKS
from prune.inputs.sample import NO_ANSWER
from prune.inputs.sample import Sample as Sample
from prune.inputs.sample_line import line_of, parse_line
from prune.io.bounded import read_bounded
from prune.io.files import write_atomically


def load_samples(
    path: str | Path,
    cue: str = ANSWER_CUE,
    media: Media = DEFAULT_MEDIA,
    wording: Wording = DEFAULT_WORDING,
) -> list[Sample]:
    """Read a data set.

    Args:
        path: JSONL in UTF-8, with or without a byte order mark.
        cue: what the prompts of its samples end with.
        media: how clips are read of which a line says nothing.
        wording: what the prompts say around a question.

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
            sample = replace(parse_line(line, folder), cue=cue, media=media, wording=wording)
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
    """Write a data set, whole or not at all; its media must lie below the file's folder.

    Raises:
        BadInputError: one does not.
    """
    folder = path.parent.resolve()

    def name_of(file: Path) -> str:
        if not file.is_relative_to(folder):
            raise BadInputError(f"{path}: {file} does not lie below the file's folder")
        return str(file.relative_to(folder))

    lines = [json.dumps(line_of(s, name_of), ensure_ascii=False) + "\n" for s in samples]
    write_atomically(path, "".join(lines))


def need_options(samples: Sequence[Sample], what: str) -> None:
    """Refuse open questions where only answers among options can be measured.

    Args:
        samples: all that were chosen.
        what: the command or option that needs options, for the message.

    Raises:
        UsageError: a sample has none.
    """
    without = [sample.id for sample in samples if sample.is_open]
    if without:
        raise UsageError(
            f"{what} needs options, and {len(without)} of {len(samples)} questions are open, "
            f"the first {without[0]!r}: choose others with --tasks, or another file"
        )


def picture_sample(images: Sequence[Path], question: str, media: Media = DEFAULT_MEDIA) -> Sample:
    """One open question about images that no data set names.

    Raises:
        BadInputError: there is no such file.
    """
    for path in images:
        if not path.is_file():
            raise BadInputError(f"{path}: no such image")
    files = tuple(path.resolve() for path in images)
    video = files[0] if len(files) == 1 else files
    return Sample(
        images[0].stem, video, question, (), NO_ANSWER, ALL_TASKS, media=media, medium="image"
    )
