"""The stage of `prune heal`: a plan's model, healed, measured beside dense and unhealed, saved."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.checkpoint.export import check_target
from prune.checkpoint.identity import geometry, weights_sha256
from prune.errors import BadInputError
from prune.evaluate.answers import (
    BATCH,
    Answer,
    Prepared,
    accuracy,
    answer,
    prepare,
    typical_prompt,
    under,
)
from prune.evaluate.stats import Interval, mcnemar, paired_difference
from prune.learn.heal import Recipe, heal
from prune.models import PLAN_FILE, Opened
from prune.pathways import dense_reach
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan
from prune.progress import Progress
from prune.samples import Sample

NAME = "plan.json"


@dataclass(frozen=True)
class Healed:
    """What healing did to a plan; accuracies are over the options on held-out samples, in percent.

    Attributes:
        plan: its name.
        flops: of the prefill, counted, as a share of the dense model's.
        dense: the model as it was.
        pruned: under the plan, before.
        healed: under the plan, after.
        difference: healed minus dense, in points, paired.
        p_value: exact McNemar test of that difference.
    """

    plan: str
    flops: float
    n: int
    dense: float
    pruned: float
    healed: float
    difference: Interval
    p_value: float


def heal_model(
    opened: Opened,
    plan: Plan,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    num_frames: int,
    recipe: Recipe,
    out: Path,
    progress: Progress,
) -> Healed:
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
    return Healed(
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
    opened: Opened, samples: Sequence[Sample], num_frames: int, progress: Progress
) -> list[Prepared]:
    with progress("Reading clips", len(samples)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, samples, num_frames, BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    return batches


def _write(opened: Opened, plan: Plan, out: Path) -> None:
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
        replace(plan, model=identity, name=named).save(stage / NAME)
        os.rename(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
