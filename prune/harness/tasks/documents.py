"""The tasks' documents for lm-eval, with the text, clip and answer of each.

The data is a folder in a benchmark's published layout (`prune.datasets`) or a JSONL, given as
`--metadata '{"data": "/data/TVBench"}'`.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from prune.datasets import read_dataset
from prune.errors import BadInputError
from prune.inputs.media import Media
from prune.inputs.prompts import ANSWER_CUE, choice_text
from prune.inputs.samples import Sample, load_samples, need_options
from prune.tiny.benchmark import write_benchmark

_READ = ("start", "end", "version", "media", "cue")

TINY_CLIPS = 60
"""Clips per task of the embedded benchmark, as in `prune demo`, if no data is given."""


def load(
    benchmark: str,
    task: str | None = None,
    data: str | None = None,
    cue: str = ANSWER_CUE,
    media: dict[str, Any] | None = None,
    **_: Any,
) -> dict[str, Dataset]:
    """The documents of a task as lm-eval's split `test`.

    Args:
        benchmark: a name of `prune.datasets`, or `tiny`.
        task: only its questions; all of them without it.
        data: a JSONL, or the benchmark's folder.
        cue: what prompts end with, after which the next token is a letter.
        media: how clips are read of which the data says nothing (fields of
            `prune.inputs.media.Media`).

    Raises:
        BadInputError: there is no data, or none of the task.
    """
    read = Media.of(media or {})
    every = [replace(s, cue=cue, media=read) for s in _samples(benchmark, data)]
    samples = [s for s in every if task in (None, s.task)]
    if not samples:
        raise BadInputError(f"{data or benchmark}: no question of task {task!r}")
    need_options(samples, "an lm-eval task of prune")
    return {"test": Dataset.from_list([_document(sample) for sample in samples])}


def _samples(benchmark: str, data: str | None) -> list[Sample]:
    if data is not None and Path(data).is_file():
        return load_samples(data)
    if data is not None:
        return read_dataset(benchmark, Path(data))
    if benchmark != "tiny":
        raise BadInputError(f'{benchmark}: no data given: pass --metadata \'{{"data": "FOLDER"}}\'')
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "prune/clips-0"
    path = cache / "test.jsonl"
    return load_samples(path if path.is_file() else write_benchmark(cache, "test", TINY_CLIPS))


def _document(sample: Sample) -> dict[str, Any]:
    # A cached response must not outlive a change of the clip.
    versions = [file.stat() for file in sample.files if file.is_file()]
    return {
        "id": sample.id,
        "task": sample.task,
        "question": sample.question,
        "options": list(sample.options),
        "letters": sample.letters,
        "answer": sample.answer,
        "cue": sample.cue,
        "video": [str(file) for file in sample.files],
        "media": json.dumps(sample.reading.given),
        "start": sample.start,
        "end": sample.end,
        "version": ", ".join(f"{v.st_size} {v.st_mtime_ns}" for v in versions),
    }


def text(document: dict[str, Any]) -> str:
    """The user's text, and the cue after which the next token is a letter."""
    return choice_text(document["question"], document["options"]) + str(document["cue"])


def clip(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The clip, as `PruneLM` reads it."""
    names = document["video"]
    video = names[0] if len(names) == 1 else names
    return [{"video": video, **{key: document[key] for key in _READ}}]


def letter(document: dict[str, Any]) -> str:
    """The true option's letter."""
    return str(document["letters"][document["answer"]])
