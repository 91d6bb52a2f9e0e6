"""The benchmark of `tiny` on disk: MP4 clips and questions in the generic data set format."""

import random
from pathlib import Path

from prune.inputs.fingerprint import fingerprint
from prune.inputs.samples import Sample, load_samples, save_samples
from prune.inputs.video import write_video
from prune.tiny.boxes import boxes_of
from prune.tiny.draw import FPS, render
from prune.tiny.scenes import Scene
from prune.tiny.task_sets import TASK_SETS, ask_for, scene_for


def scenes(
    split: str, per_task: int, seed: int = 0, task_set: str = "shapes"
) -> list[tuple[str, Scene, random.Random]]:
    """`(task, scene, rng for its question)` of every clip; no scene comes twice."""
    drawn: list[tuple[str, Scene, random.Random]] = []
    seen: set[str] = set()
    for task in TASK_SETS[task_set]:
        rng = random.Random(f"{split}/{task}/{seed}")
        while sum(name == task for name, _, _ in drawn) < per_task:
            scene = scene_for(task, split, rng)
            if scene.fingerprint not in seen:
                seen.add(scene.fingerprint)
                drawn.append((task, scene, rng))
    return drawn


def write_benchmark(
    folder: Path, split: str, per_task: int, seed: int = 0, task_set: str = "shapes"
) -> Path:
    """Draw `per_task` clips of every task and write them as MP4 with `<split>.jsonl`.

    Args:
        folder: created, for the clips (`<split>/*.mp4`) and the JSONL.
        split: `train`, `calibration` or `test`; they share no scenes.
        per_task: clips per task; tasks alternate in the file, so that any prefix of it is mixed.
        seed: which clips.
        task_set: a name in `TASK_SETS`.

    Returns:
        Path of the JSONL.
    """
    clips = folder.resolve() / split
    clips.mkdir(parents=True, exist_ok=True)
    by_task: dict[str, list[Sample]] = {task: [] for task in TASK_SETS[task_set]}
    for task, scene, rng in scenes(split, per_task, seed, task_set):
        number = len(by_task[task])
        path = clips / f"{task}-{number:04d}.mp4"
        write_video(path, render(scene), FPS)
        question = ask_for(task, scene, rng)
        options = question.options(rng)
        by_task[task].append(
            Sample(
                id=f"{split}/{task}/{number:04d}",
                video=path,
                question=question.text,
                options=tuple(options),
                answer=options.index(question.answer),
                task=task,
                boxes=boxes_of(scene),
            )
        )
    rows = [sample for group in zip(*by_task.values(), strict=True) for sample in group]
    path = clips.parent / f"{split}.jsonl"
    save_samples(path, rows)
    return path


__all__ = ["fingerprint", "load_samples", "scenes", "write_benchmark"]
