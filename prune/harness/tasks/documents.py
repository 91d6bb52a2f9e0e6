"""The tasks' documents for lm-eval, with the text, clip and answer of each.

The data is a folder in a benchmark's published layout (`prune.datasets`) or a JSONL, given as
`--metadata '{"data": "/data/TVBench"}'`.
"""

import os
from pathlib import Path
from typing import Any

from datasets import Dataset

from prune.datasets import read_dataset
from prune.errors import BadInputError
from prune.inputs.prompts import ANSWER_CUE, choice_text
from prune.inputs.samples import Sample, load_samples
from prune.tiny.benchmark import write_benchmark

TINY_CLIPS = 60
"""Clips per task of the embedded benchmark, as in `prune demo`, if no data is given."""


def load(
    benchmark: str, task: str | None = None, data: str | None = None, **_: Any
) -> dict[str, Dataset]:
    """The documents of a task as lm-eval's split `test`.

    Args:
        benchmark: a name of `prune.datasets`, or `tiny`.
        task: only its questions; all of them without it.
        data: a JSONL, or the benchmark's folder.

    Raises:
        BadInputError: there is no data, or none of the task.
    """
    samples = [s for s in _samples(benchmark, data) if task in (None, s.task)]
    if not samples:
        raise BadInputError(f"{data or benchmark}: no question of task {task!r}")
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
    version = sample.video.stat() if sample.video.is_file() else None
    return {
        "id": sample.id,
        "task": sample.task,
        "question": sample.question,
        "options": list(sample.options),
        "letters": sample.letters,
        "answer": sample.answer,
        "video": str(sample.video),
        "start": sample.start,
        "end": sample.end,
        "version": f"{version.st_size} {version.st_mtime_ns}" if version else "",
    }


def text(document: dict[str, Any]) -> str:
    """The user's text, and the cue after which the next token is a letter."""
    return choice_text(document["question"], document["options"]) + ANSWER_CUE


def clip(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The clip, as `PruneLM` reads it."""
    return [{key: document[key] for key in ("video", "start", "end", "version")}]


def letter(document: dict[str, Any]) -> str:
    """The true option's letter."""
    return str(document["letters"][document["answer"]])
