"""Conversations about the benchmark's clips: several questions about one clip, the last one asked.

The turns before it are questions without options, each with its true reply.
"""

import random
from dataclasses import replace
from pathlib import Path

from prune.inputs.prompts import open_question
from prune.inputs.samples import load_samples, save_samples
from prune.tiny.benchmark import scenes
from prune.tiny.questions import ask, tasks_of

MOST_TURNS = 3


def write_chats(path: Path, split: str, per_task: int, seed: int = 0) -> Path:
    """Write the questions of a benchmark with 1 to `MOST_TURNS` turns before each, beside it.

    Args:
        path: JSONL that `prune.tiny.benchmark.write_benchmark` wrote.
        split, per_task, seed: of that benchmark.

    Returns:
        Path of the new JSONL, such as `test-chats.jsonl`.
    """
    samples = {sample.id: sample for sample in load_samples(path)}
    rng = random.Random(f"{split}/chats/{seed}")
    rows, numbers = [], dict[str, int]()
    for task, scene, _ in scenes(split, per_task, seed):
        number = numbers[task] = numbers.get(task, -1) + 1
        sample = samples[f"{split}/{task}/{number:04d}"]
        others = [other for other in tasks_of(scene) if other != task]
        turns = []
        for _ in range(1 + number % MOST_TURNS):
            asked = ask(rng.choice(others), scene, rng)
            turns.append((open_question(asked.text).text, asked.answer))
        rows.append(replace(sample, turns=tuple(turns)))
    target = path.with_name(f"{path.stem}-chats.jsonl")
    save_samples(target, rows)
    return target
