"""Open questions about the benchmark's clips: its own without options, and to describe them."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from prune.inputs.sample import NO_ANSWER, Sample
from prune.inputs.samples import load_samples, save_samples
from prune.tiny.benchmark import scenes
from prune.tiny.descriptions import DESCRIBE, description


def without_options(sample: Sample) -> Sample:
    """A sample as an open question, to which the true option is the reply."""
    reply = sample.options[sample.answer]
    return replace(sample, options=(), answer=NO_ANSWER, reply=reply)


def write_descriptions(path: Path, split: str, per_task: int, seed: int, task_set: str) -> Path:
    """Write the request to describe each clip of a benchmark, with a true description, beside it.

    Args:
        path: JSONL that `prune.tiny.benchmark.write_benchmark` wrote.
        split, per_task, seed, task_set: of that benchmark.

    Returns:
        Path of the new JSONL, such as `test-descriptions.jsonl`.
    """
    drawn = defaultdict[str, list[str]](list)
    for task, scene, _ in scenes(split, per_task, seed, task_set):
        drawn[task].append(description(scene))
    rows = []
    for number, sample in enumerate(load_samples(path)):
        truth = drawn[str(sample.task)][number // len(drawn)]
        rows.append(replace(without_options(sample), question=DESCRIBE, reply=truth))
    target = path.with_name(f"{path.stem}-descriptions.jsonl")
    save_samples(target, rows)
    return target


def write_open(path: Path) -> Path:
    """Write the questions of a data set as open ones, beside it.

    Args:
        path: JSONL of questions with options.

    Returns:
        Path of the new JSONL, such as `test-open.jsonl`.
    """
    target = path.with_name(f"{path.stem}-open.jsonl")
    save_samples(target, [without_options(sample) for sample in load_samples(path)])
    return target
