"""The workflow of `prune heal`: a model healed under each of several plans, and their front."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune.checkpoint.load import open_model, open_processor, resolve
from prune.errors import RefusedError, UsageError
from prune.inputs.encode import check_samples
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import need_options
from prune.io.files import write_atomically
from prune.journal.journal import differing
from prune.journal.lock import RunLock
from prune.journal.progress import Progress, silent
from prune.learn.heal import HealSettings
from prune.plan.model_id import Positions
from prune.plan.plan import Plan
from prune.report.figures.healed import healed_figure
from prune.report.figures.style import save_figure
from prune.results.healed import (
    FRONT_FIGURE,
    FRONT_FILE,
    HEALED_FILE,
    HealedModel,
    HealResult,
)
from prune.workflows.asked import asked_as, read_as
from prune.workflows.heal import heal_identity, heal_model
from prune.workflows.select import select_samples


@dataclass(frozen=True)
class HealedFront:
    """What healing did to several plans, and where it was written.

    Attributes:
        results: in the order of the plans.
        folders: the healed models', in the same order.
        report, figure: all results as JSON and as a figure.
    """

    results: list[HealResult]
    folders: list[Path]
    report: Path
    figure: Path


def heal_front(
    model: str | Path,
    plans: Sequence[Path],
    data: Path,
    test: Path,
    out: Path,
    progress: Progress = silent,
    *,
    tasks: Sequence[str] | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    num_frames: int | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    steps: int = HealSettings.steps,
    rate: float = HealSettings.rate,
    rank: int = HealSettings.rank,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    max_failed: str = MAX_FAILED,
) -> HealedFront:
    """Heal a model under each of several plans, and draw accuracy over cost before and after.

    A model that the same command finished before it was stopped is kept, with its result.

    Args:
        model: folder, hub id or embedded model.
        plans: plan files of the model.
        data, test: JSONL of the samples to learn from and to report on.
        out: the new model folder; of several plans, a folder with one model folder for each.
        progress: shows each step.
        tasks: only samples of these tasks.
        limit, per_task: a draw of those of each file (`prune.inputs.draw.draw_samples`).
        num_frames, media: frames of every clip, and how those are read of which the data says
            nothing.
        cue, system, prompt: how samples are asked.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

            Frames, clips, words and precision are an export's where nothing is said
            (`prune.workflows.asked`).
        steps, rate, rank, seed: see `prune.learn.heal.HealSettings`; the draw has this seed, too.
        max_failed: samples that may fail (`prune.inputs.max_failed`).

    Raises:
        UsageError: two plans have the same file name.
        TooManyFailedError: more samples failed than `max_failed` allows.
        RefusedError: `out` holds something else, another process writes there, a plan is for
            another model, or the letters cannot be scored.
        BadInputError: no sample can be used, or a video is in both data sets.
        ResourceError: the disk is full or cannot be written.
    """
    folders = [out / path.stem if len(plans) > 1 else out for path in plans]
    if len(set(folders)) < len(plans):
        raise UsageError("two plans have the same file name: their models would be one folder")
    cue, wording = asked_as((model,), cue, system, prompt)
    reading = read_as((model,), num_frames, media, dtype)
    learn, held_out = (
        select_samples(file, tasks, None, limit, cue, per_task, seed, reading.media, wording)
        for file in (data, test)
    )
    need_options([*learn, *held_out], "prune heal")
    loaded = [Plan.load(path) for path in plans]
    positions = _positions(loaded)
    check_samples(open_processor(resolve(model)), [*learn, *held_out])
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = HealSettings(steps, rate, rank, seed)
    if len(plans) > 1:
        _check_front(out, folders)
    with RunLock(out) if len(plans) > 1 else nullcontext():
        opened = open_model(model, device, reading.dtype, dense=True, positions=positions)
        made_from = [
            heal_identity(opened, plan, learn, held_out, reading.num_frames, settings)
            for plan in loaded
        ]
        # All of them, so that nobody waits for one plan whose neighbour is refused.
        results = list(map(_finished, folders, made_from))
        fresh = True
        for index, (plan, folder) in enumerate(zip(loaded, folders, strict=True)):
            if results[index] is None:
                # Healing changes the weights of the model that it is given.
                if not fresh:
                    opened = open_model(
                        model, device, reading.dtype, dense=True, positions=positions
                    )
                fresh = False
                results[index] = heal_model(
                    opened, plan, learn, held_out, reading.num_frames, settings, folder, progress,
                    max_failed,
                )  # fmt: skip
        healed = [result for result in results if result is not None]
        written = HealedFront(healed, folders, out / FRONT_FILE, out / FRONT_FIGURE)
        report = {"recipe": asdict(settings), "plans": [asdict(result) for result in healed]}
        write_atomically(written.report, json.dumps(report, indent=2) + "\n")
        save_figure(healed_figure(healed), written.figure)
    return written


def _positions(plans: Sequence[Plan]) -> Positions | None:
    """Whose positions the plans were measured at; raises `UsageError` if they differ."""
    first, *others = (plan.model.positions for plan in plans)
    if any(other != first for other in others):
        raise UsageError("the plans were measured at different --positions: heal one at a time")
    return first


def _check_front(out: Path, folders: Sequence[Path]) -> None:
    """Raise `RefusedError` if `out` is there and holds what this command does not write."""
    known = {*folders, out / FRONT_FILE, out / FRONT_FIGURE}
    if not out.exists():
        return
    others = [
        path
        for path in (sorted(out.iterdir()) if out.is_dir() else [out])
        if path not in known
        and not path.name.startswith(".")
        and not (path / HEALED_FILE).is_file()
    ]
    if others:
        raise RefusedError(f"{others[0]}: exists already: choose another --out")


def _finished(folder: Path, made_from: dict[str, Any]) -> HealResult | None:
    """What an earlier, stopped command did in a folder; None if there is none.

    Raises:
        RefusedError: the folder holds something else, or a model that was made from something else.
    """
    if not folder.exists():
        return None
    if not (folder / HEALED_FILE).is_file():
        raise RefusedError(f"{folder}: exists already: choose another --out")
    found = HealedModel.load(folder)
    if fields := differing(found.made_from, made_from):
        raise RefusedError(
            f"{folder}: exists already, healed from others: {', '.join(fields)} differ; choose a "
            "new --out"
        )
    return found.result
