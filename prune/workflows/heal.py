"""The stage of `prune heal`: a plan's model, healed, measured beside dense and unhealed, saved."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prune.checkpoint.identity import weights_sha256
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.answers import (
    BATCH,
    EncodedBatch,
    accuracy,
    answer,
    prepare,
    typical_prompt,
    under,
)
from prune.evaluate.stats import mcnemar, paired_difference
from prune.inputs.samples import Sample
from prune.journal.progress import Progress
from prune.layout.pathways import dense_reach
from prune.learn.heal import HealSettings, heal
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.model_id import geometry
from prune.plan.plan import PLAN_FILE, RUN_PLAN_FILE, Plan
from prune.results.answer import Answer
from prune.results.healed import HealResult
from prune.workflows.write_export import check_target


def heal_model(
    opened: LoadedModel,
    plan: Plan,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    num_frames: int,
    recipe: HealSettings,
    out: Path,
    progress: Progress,
) -> HealResult:
    """Heal, measure, and write a stock model folder with the plan bound to the new weights.

    Args:
        opened: the dense model; it is changed.
        plan: of this model.
        calibration: samples to learn from.
        held_out: samples to report on.
        num_frames: of every clip.
        recipe: how to train.
        out: the new folder.
        progress: shows it.

    Raises:
        BadInputError: no sample can be used, or one is on both sides.
        RefusedError: `out` must not be written, or the plan is for another model.
    """
    check_target(opened.folder, out, force=False)
    plan = plan.with_model(opened.id)
    common = {s.id for s in calibration} & {s.id for s in held_out}
    if common:
        raise BadInputError(f"sample {min(common)!r} is both to learn from and to report on")
    learn, test = (
        _prepared(opened, samples, num_frames, progress) for samples in (calibration, held_out)
    )

    def ask(plan: Plan) -> list[Answer]:
        return answer(opened.model, opened.processor, test, under(plan.reach))

    dense = ask(replace(plan, reach=dense_reach(plan.num_layers)))
    pruned = ask(plan)
    with progress("Healing", recipe.steps) as advance:
        heal(opened.model, plan, learn, recipe, lambda loss: advance(1))
    healed = ask(plan)
    _write(opened, plan, out)
    before, after = ([a.correct for a in given] for given in (dense, healed))
    prompt, sizes = typical_prompt(test), Geometry.of(opened.model)
    whole = dense_cost(plan.num_layers, prompt, sizes)
    return HealResult(
        plan=plan.name,
        flops=cost_of(plan.reach, prompt, sizes).flops / whole.flops,
        n=len(before),
        dense=accuracy(dense),
        pruned=accuracy(pruned),
        healed=accuracy(healed),
        difference=paired_difference(before, after),
        p_value=mcnemar(before, after),
    )


def _prepared(
    opened: LoadedModel, samples: Sequence[Sample], num_frames: int, progress: Progress
) -> list[EncodedBatch]:
    with progress("Reading clips", len(samples)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, samples, num_frames, BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    return batches


def _write(opened: LoadedModel, plan: Plan, out: Path) -> None:
    """A folder like the one that was opened, with the new weights, and the plan for them."""
    stage = out.absolute().parent / f".{out.name}.{os.getpid()}.stage"
    try:
        stage.mkdir()
        for path in opened.folder.iterdir():
            if path.is_file() and ".safetensors" not in path.name and path.name != PLAN_FILE:
                shutil.copyfile(path, stage / path.name)
        opened.model.save_pretrained(stage)
        identity = geometry(opened.model, str(out), weights_sha256(stage))
        named = f"{plan.name}, healed"
        replace(plan, model=identity, name=named).save(stage / RUN_PLAN_FILE)
        os.rename(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
