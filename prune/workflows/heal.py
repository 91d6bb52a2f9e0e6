"""The workflow of `prune heal`: models trained under their plans, measured and saved."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from prune.checkpoint.identity import weights_sha256
from prune.checkpoint.load import LoadedModel, open_model, open_processor, resolve
from prune.errors import RefusedError, ResourceError, UsageError
from prune.evaluate.answers import accuracy, answer, typical_prompt, under
from prune.evaluate.stats import mcnemar, paired_difference
from prune.inputs.encode import check_samples
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE
from prune.inputs.samples import Sample, load_samples
from prune.io.files import staged, write_atomically
from prune.journal.progress import Progress, silent
from prune.layout.pathways import dense_reach
from prune.learn.heal import HealSettings, heal
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.model_id import geometry
from prune.plan.plan import RUN_PLAN_FILE, Plan
from prune.report.figures.healed import healed_figure
from prune.report.figures.style import save_figure
from prune.results.answer import Answer
from prune.results.healed import HealResult
from prune.workflows.read_clips import read_clips
from prune.workflows.split import check_apart
from prune.workflows.write_export import check_target, copy_files, model_files


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
    num_frames: int = 8,
    cue: str = ANSWER_CUE,
    media: Media = DEFAULT_MEDIA,
    steps: int = HealSettings.steps,
    rate: float = HealSettings.rate,
    rank: int = HealSettings.rank,
    seed: int = 0,
) -> HealedFront:
    """Heal a model under each of several plans, and draw accuracy over cost before and after.

    Args:
        model: folder, hub id, `tiny` or `tiny-ov`.
        plans: plan files of the model.
        data, test: JSONL of the samples to learn from and to report on.
        out: the new model folder; of several plans, a folder with one model folder for each.
        progress: shows each step.
        num_frames: frames of every clip.
        cue: what a prompt ends with (`prune.inputs.samples.Sample`).
        media: how clips are read of which the data says nothing.
        steps, rate, rank, seed: see `prune.learn.heal.HealSettings`.

    Raises:
        UsageError: two plans have the same file name.
        RefusedError: `out` exists, a plan is for another model, or the letters cannot be scored.
        BadInputError: no sample can be used, or a video is in both data sets.
        ResourceError: the disk is full or cannot be written.
    """
    folders = [out / path.stem if len(plans) > 1 else out for path in plans]
    if len(set(folders)) < len(plans):
        raise UsageError("two plans have the same file name: their models would be one folder")
    if out.exists():
        raise RefusedError(f"{out}: exists already: choose another folder")
    learn, held_out = (load_samples(file, cue, media) for file in (data, test))
    loaded = [Plan.load(path) for path in plans]
    check_samples(open_processor(resolve(model)), [*learn, *held_out])
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(plans) > 1:
        out.mkdir()
    settings = HealSettings(steps, rate, rank, seed)
    results = []
    for plan, folder in zip(loaded, folders, strict=True):
        opened = open_model(model, dense=True)
        results.append(
            heal_model(opened, plan, learn, held_out, num_frames, settings, folder, progress)
        )
    written = HealedFront(results, folders, out / "healing.json", out / "healing.png")
    report = {"recipe": asdict(settings), "plans": [asdict(healed) for healed in results]}
    write_atomically(written.report, json.dumps(report, indent=2) + "\n")
    save_figure(healed_figure(results), written.figure)
    return written


def heal_model(
    opened: LoadedModel,
    plan: Plan,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    num_frames: int,
    settings: HealSettings,
    out: Path,
    progress: Progress = silent,
) -> HealResult:
    """Heal, measure, and write a stock model folder with the plan bound to the new weights.

    Args:
        opened: the dense model; its weights are changed.
        plan: the model's.
        calibration: samples to learn from.
        held_out: samples to report on.
        num_frames: frames of every clip.
        settings: of the training.
        out: the new folder.
        progress: shows each step.

    Raises:
        BadInputError: no sample can be used, or a video is on both sides.
        RefusedError: `out` must not be written, or the plan is for another model.
        ResourceError: the disk is full or cannot be written.
    """
    check_target(opened.folder, out, force=False)
    plan = plan.with_model(opened.id)
    check_apart(calibration, held_out, "the samples to report on")
    learn, _ = read_clips(opened, calibration, num_frames, progress)
    test, _ = read_clips(opened, held_out, num_frames, progress)

    def ask(plan: Plan) -> list[Answer]:
        return answer(opened.model, opened.processor, test, under(plan.reach))

    dense = ask(replace(plan, reach=dense_reach(plan.num_layers)))
    pruned = ask(plan)
    with progress("Healing", settings.steps) as advance:
        heal(opened.model, plan, learn, settings, lambda loss: advance(1))
    healed = ask(plan)
    _write(opened, plan, out)
    before, after = ([a.correct for a in given] for given in (dense, healed))
    videos = [a.video for a in dense]
    prompt, sizes = typical_prompt(test), Geometry.of(opened.model)
    whole = dense_cost(plan.num_layers, prompt, sizes)
    return HealResult(
        plan=plan.name,
        flops=cost_of(plan.reach, prompt, sizes).flops / whole.flops,
        n=len(before),
        videos=len(set(videos)),
        dense=accuracy(dense),
        pruned=accuracy(pruned),
        healed=accuracy(healed),
        difference=paired_difference(before, after, videos),
        p_value=mcnemar(before, after, videos),
    )


def _write(opened: LoadedModel, plan: Plan, out: Path) -> None:
    """Write a folder like the one that was opened, with the new weights and the plan for them."""
    try:
        with staged(out) as stage:
            names = model_files(opened.folder)
            copy_files(opened.folder, (n for n in names if ".safetensors" not in n), stage)
            opened.model.save_pretrained(stage)
            for path in stage.glob("*.safetensors"):
                # safetensors lets nobody but the owner read what it writes.
                shutil.copymode(stage / "config.json", path)
            identity = geometry(opened.model, str(out), weights_sha256(stage))
            named = f"{plan.name}, healed"
            replace(plan, model=identity, name=named).save(stage / RUN_PLAN_FILE)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"{out}: cannot write the model: {reason}") from None
