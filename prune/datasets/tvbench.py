"""TVBench (arXiv 2410.07752): `json/<task>.json` and `video/<task>/`."""

from pathlib import Path

from prune.datasets.layout import entries, question
from prune.inputs.samples import Sample

TASKS = {
    "action_antonym": False,
    "action_count": False,
    "action_localization": True,
    "action_sequence": True,
    "egocentric_sequence": False,
    "moving_direction": False,
    "object_count": False,
    "object_shuffle": False,
    "scene_transition": False,
    "unexpected_action": False,
}
"""The ten tasks, and whether their questions are about a part of the video."""


def read(folder: Path) -> list[Sample]:
    """Every question of the ten tasks."""
    return [
        question(
            where,
            entry,
            f"tvbench/{task}/{number:05d}",
            task,
            folder / "video" / task / str(entry.get("video")),
            bounded=bounded,
        )
        for task, bounded in TASKS.items()
        for number, (where, entry) in enumerate(entries(folder / "json" / f"{task}.json"))
    ]
