"""The workflow of `prune clips`: the synthetic benchmark of the embedded models."""

from pathlib import Path

from prune.tiny.benchmark import write_benchmark

SPLITS = ("calibration", "test")


def draw_clips(folder: Path, per_task: int = 20, seed: int = 0) -> list[Path]:
    """Draw MP4 clips with questions into a folder.

    Args:
        folder: made if missing.
        per_task: clips for each of the six tasks, in each split.
        seed: which clips are drawn.

    Returns:
        The JSONL files, one per split.
    """
    return [write_benchmark(folder, split, per_task, seed) for split in SPLITS]
