"""TOMATO (arXiv 2410.23266): `data/<type>.json` and `videos/<demonstration>/<key>.mp4`."""

from pathlib import Path

from prune.datasets.layout import entries, question
from prune.inputs.samples import Sample

TASKS = ("count", "direction", "rotation", "shape&trend", "velocity&frequency", "visual_cues")


def read(folder: Path) -> list[Sample]:
    """Every question of the six reasoning types; an answer is the index of its option."""
    return [
        question(
            where,
            entry,
            f"tomato/{task}/{number:05d}",
            task,
            folder / "videos" / str(entry.get("demonstration_type")) / f"{entry.get('key')}.mp4",
            options="options",
        )
        for task in TASKS
        for number, (where, entry) in enumerate(entries(folder / "data" / f"{task}.json"))
    ]
