"""The healing of one model: trained under its plan, measured and saved."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from prune.checkpoint.identity import weights_sha256
from prune.checkpoint.load import LoadedModel
from prune.errors import ResourceError
from prune.evaluate.answers import accuracy, typical_prompt, under
from prune.evaluate.questions import Questions
from prune.evaluate.stats import mcnemar, paired_difference
from prune.inputs.max_failed import MAX_FAILED, check_failed
from prune.inputs.samples import Sample
from prune.io.files import staged
from prune.journal.progress import Progress, silent
from prune.journal.records import data_identity, model_identity
from prune.layout.reach import dense_reach
from prune.learn.heal import HealSettings, heal
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.model_id import geometry
from prune.plan.plan import RUN_PLAN_FILE, Plan
from prune.results.healed import HealedModel, HealResult
from prune.runtime.positions import placed
from prune.workflows.read_clips import read_clips
from prune.workflows.split import check_apart
from prune.workflows.write_export import check_target, copy_files, model_files


def heal_identity(
    opened: LoadedModel,
    plan: Plan,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    num_frames: int,
    settings: HealSettings,
) -> dict[str, Any]:
    """What a healed model is made from."""
    learned, reported = data_identity(calibration), data_identity(held_out)
    return {
        **model_identity(opened),
        "plan": plan.with_model(opened.id).sha256,
        **learned,
        "test_sha256": reported["data_sha256"],
        "test_samples": reported["samples"],
        "num_frames": num_frames,
        "settings": asdict(settings),
    }


def heal_model(
    opened: LoadedModel,
    plan: Plan,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    num_frames: int,
    settings: HealSettings,
    out: Path,
    progress: Progress = silent,
    max_failed: str = MAX_FAILED,
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
        max_failed: samples that may fail (`prune.inputs.max_failed`).

    Raises:
        TooManyFailedError: more samples failed; nothing was trained.
        BadInputError: no sample can be used, or a video is on both sides.
        RefusedError: `out` must not be written, or the plan is for another model.
        ResourceError: the disk is full or cannot be written.
    """
    check_target(opened.folder, out, force=False)
    plan = plan.with_model(opened.id)
    check_apart(calibration, held_out, "the samples to report on")
    made_from = heal_identity(opened, plan, calibration, held_out, num_frames, settings)
    failed: dict[str, str] = {}
    learn, test = (
        _encoded(opened, samples, num_frames, progress, failed)
        for samples in (calibration, held_out)
    )
    dense = test.ask(under(dense_reach(plan.num_layers)))
    # A sample with NaN logits would end the training.
    learn.ask(under(dense_reach(plan.num_layers)))
    pruned = test.ask(under(plan.reach))
    check_failed(failed, len(calibration) + len(held_out), max_failed)
    with progress("Healing", settings.steps) as advance:
        heal(opened.model, plan, learn.batches, settings, lambda loss: advance(1))
    healed = test.ask(under(plan.reach))
    dense, pruned = test.left(dense), test.left(pruned)
    before, after = ([a.correct for a in given] for given in (dense, healed))
    videos = [a.video for a in dense]
    prompt, sizes = typical_prompt(test.batches), Geometry.of(opened.model)
    whole = dense_cost(plan.num_layers, prompt, sizes)
    result = HealResult(
        plan=plan.name,
        flops=cost_of(plan.reach, prompt, sizes).flops / whole.flops,
        n=len(before),
        videos=len(set(videos)),
        dense=accuracy(dense),
        pruned=accuracy(pruned),
        healed=accuracy(healed),
        difference=paired_difference(before, after, videos),
        p_value=mcnemar(before, after, videos),
        failed=failed,
    )
    _write(opened, plan, HealedModel(made_from, result), out)
    return result


def _encoded(
    opened: LoadedModel,
    samples: Sequence[Sample],
    num_frames: int,
    progress: Progress,
    failed: dict[str, str],
) -> Questions:
    """Samples as questions whose failures are added to `failed`."""
    batches, unread = read_clips(opened, samples, num_frames, progress)
    failed |= unread
    return Questions(opened, num_frames, batches, failed)


def _write(opened: LoadedModel, plan: Plan, healed: HealedModel, out: Path) -> None:
    """Write a folder like the one that was opened, with the new weights and the plan for them."""
    try:
        with staged(out) as stage:
            names = model_files(opened.folder)
            copy_files(opened.folder, (n for n in names if ".safetensors" not in n), stage)
            opened.model.save_pretrained(stage)
            for path in stage.glob("*.safetensors"):
                # safetensors lets nobody but the owner read what it writes.
                shutil.copymode(stage / "config.json", path)
            identity = placed(
                geometry(opened.model, str(out), weights_sha256(stage)), opened.id.positions
            )
            named = f"{plan.name}, healed"
            replace(plan, model=identity, name=named).save(stage / RUN_PLAN_FILE)
            healed.save(stage)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"{out}: cannot write the model: {reason}") from None
