"""The workflow of `prune clips`: the synthetic benchmark of the embedded models."""

from pathlib import Path

from prune.tiny.benchmark import write_benchmark
from prune.tiny.open_questions import write_open

SPLITS = ("calibration", "test")


def draw_clips(folder: Path, per_task: int = 20, seed: int = 0, open: bool = False) -> list[Path]:
    """Draw MP4 clips with questions into a folder.

    Args:
        folder: made if missing.
        per_task: clips for each of the six tasks, in each split.
        seed: which clips are drawn.
        open: also write the questions without options, the true one as the reply.

    Returns:
        The JSONL files, one per split, and then `<split>-open.jsonl`.
    """
    files = [write_benchmark(folder, split, per_task, seed) for split in SPLITS]
    return [*files, *map(write_open, files)] if open else files
