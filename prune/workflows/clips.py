"""The workflow of `prune clips`: the synthetic benchmark of the embedded models."""

from pathlib import Path

from prune.errors import BadInputError
from prune.tiny.benchmark import write_benchmark
from prune.tiny.chats import write_chats
from prune.tiny.open_questions import write_descriptions, write_open

SPLITS = ("calibration", "test")


def draw_clips(
    folder: Path,
    per_task: int = 20,
    seed: int = 0,
    open: bool = False,
    chats: bool = False,
    task_set: str = "shapes",
) -> list[Path]:
    """Draw MP4 clips with questions into a folder.

    Args:
        folder: made if missing.
        per_task: clips for each task, in each split.
        seed: which clips are drawn.
        open: also write the questions without options, the true one as the reply, and of the tasks
            `events` a request to describe each clip, with a true description as the reply.
        chats: also write them behind earlier turns about the same clip.
        task_set: which tasks, a name in `TASK_SETS`.

    Returns:
        The JSONL files, one per split, then `<split>-chats.jsonl`, then those without options, as
        `<split>-open.jsonl`, and then `<split>-descriptions.jsonl`.

    Raises:
        BadInputError: `chats` of other tasks than `tiny`'s.
    """
    if chats and task_set != "shapes":
        raise BadInputError("--chats: conversations are about the tasks of tiny: --tasks shapes")
    files = [write_benchmark(folder, split, per_task, seed, task_set) for split in SPLITS]
    written = list(zip(files, SPLITS, strict=True))
    if chats:
        files += [write_chats(file, split, per_task, seed) for file, split in written]
    if open:
        files += [write_open(file) for file in files]
        if task_set == "events":
            files += [
                write_descriptions(file, split, per_task, seed, task_set) for file, split in written
            ]
    return files
