"""Healing brings a pruned model's answers nearer to the dense ones and leaves a stock model."""

import json
import os
import resource
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import BadInputError, RefusedError, ResourceError
from prune.evaluate.answers import EncodedBatch, prepare, under
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.reach import dense_reach
from prune.learn.heal import HealSettings, heal
from prune.plan.moves import slides
from prune.plan.plan import RUN_PLAN_FILE, Plan
from prune.runtime.attention import seam
from prune.runtime.captured import next_logits
from prune.workflows.heal import heal_model

LAYERS = 12


def harsh(opened: LoadedModel) -> Plan:
    return Plan(slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 9), opened.id, "harsh")


def distance(opened: LoadedModel, batch: EncodedBatch, plan: Plan, dense: torch.Tensor) -> float:
    with seam(opened.model):
        pruned = next_logits(opened.model, under(plan.reach)(batch)[:, -1]).log_softmax(-1)
    return float(torch.nn.functional.kl_div(pruned, dense.softmax(-1), reduction="batchmean"))


@pytest.mark.parametrize("rank", [4, 0], ids=["lora", "full"])
def test_healing_brings_the_answers_nearer_and_leaves_no_trace_of_itself(
    rank: int, samples: list[Sample]
) -> None:
    opened = open_model("tiny")
    names = [name for name, _ in opened.model.named_parameters()]
    vision = opened.model.model.vision_tower.state_dict()
    before = {name: value.clone() for name, value in vision.items()}
    (batch,), _ = prepare(opened.model, opened.processor, samples[:6], 8, 8)
    plan = harsh(opened)
    with seam(opened.model):
        dense = next_logits(opened.model, under(dense_reach(LAYERS))(batch)[:, -1])
    far = distance(opened, batch, plan, dense)
    losses: list[float] = []
    heal(opened.model, plan, [batch], HealSettings(8, 1e-3, rank), losses.append)
    assert losses[0] == pytest.approx(far, rel=1e-3)
    assert distance(opened, batch, plan, dense) < 0.5 * far
    assert [name for name, _ in opened.model.named_parameters()] == names
    after = opened.model.model.vision_tower.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_same_seed_heals_to_the_same_weights(samples: list[Sample]) -> None:
    weights = []
    for _ in range(2):
        opened = open_model("tiny")
        (batch,), _ = prepare(opened.model, opened.processor, samples[:4], 8, 4)
        heal(opened.model, harsh(opened), [batch], HealSettings(2, 1e-3, 4))
        weights.append(opened.model.model.language_model.layers[3].mlp.up_proj.weight)
    assert torch.equal(*weights)


def test_a_healed_model_is_a_folder_with_its_plan(
    tmp_path: Path, tiny: LoadedModel, samples: list[Sample]
) -> None:
    opened = open_model("tiny")
    plan, out = harsh(opened), tmp_path / "healed"
    found = heal_model(
        opened, plan, samples[:6], samples[6:12], 8, HealSettings(3, 1e-3, 4), out, silent
    )
    assert (
        found.n == 6
        and found.flops < 0.8
        and found.difference.value == pytest.approx(found.healed - found.dense)
    )
    again = open_model(out, dense=True)
    bound = Plan.load(out / RUN_PLAN_FILE)
    bound.check_model(again.id)
    assert (bound.reach == plan.reach).all()
    with pytest.raises(RefusedError, match="made for weights"):
        plan.check_model(again.id)
    with pytest.raises(RefusedError, match="exists"):
        heal_model(tiny, harsh(tiny), samples[:6], samples[6:12], 8, HealSettings(1), out, silent)


def test_a_healed_model_is_readable_and_a_full_disk_leaves_nothing(
    tmp_path: Path, samples: list[Sample]
) -> None:
    opened, settings = open_model("tiny"), HealSettings(1, 1e-3, 4)
    split, out = (samples[:2], samples[2:4], 8, settings), tmp_path / "healed"
    heal_model(opened, harsh(opened), *split, out)
    umask = os.umask(0)
    os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
    assert modes and set(modes.values()) == {0o666 & ~umask}, modes
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    opened = open_model("tiny")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(ResourceError, match="cannot write the model"):
            heal_model(opened, harsh(opened), *split, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["healed"]


def test_several_plans_are_a_front(
    tmp_path: Path,
    tiny: LoadedModel,
    clips: Path,
    prune_command: Callable[..., tuple[int, str, str]],
) -> None:
    plans, out = [], tmp_path / "healed"
    for number in (2, 7):
        plan = Plan(slides(LAYERS, 8)[0].at(dense_reach(LAYERS), number), tiny.id, f"cut {number}")
        plan.save(tmp_path / f"{number}.json")
        plans += ["--plan", tmp_path / f"{number}.json"]
    data = ("--data", clips / "calibration.jsonl", "--test", clips / "test.jsonl", "--steps", 1)
    assert prune_command("heal", "tiny", *plans, *data, "--out", out)[0] == 0
    rows = json.loads((out / "healing.json").read_text())["plans"]
    assert [row["plan"] for row in rows] == ["cut 2", "cut 7"]
    assert 1 > rows[0]["flops"] > rows[1]["flops"]
    assert (out / "healing.png").stat().st_size > 1000
    for number in (2, 7):
        healed = open_model(out / str(number), dense=True)
        Plan.load(out / str(number) / RUN_PLAN_FILE).check_model(healed.id)
    whole = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert prune_command("heal", "tiny", *plans, *data, "--out", out)[0] == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == whole
    code, _, error = prune_command("heal", "tiny", *plans, *data, "--seed", 1, "--out", out)
    assert code == RefusedError.exit_code and "settings.seed differ" in error
    (out / "precious.txt").write_text("mine")
    code, _, error = prune_command("heal", "tiny", *plans, *data, "--out", out)
    assert code == RefusedError.exit_code and "precious.txt: exists already" in error


def test_what_cannot_be_healed_is_refused(
    tmp_path: Path, tiny: LoadedModel, samples: list[Sample]
) -> None:
    with pytest.raises(BadInputError, match="also one to search or learn on"):
        heal_model(
            tiny, harsh(tiny), samples[:2], samples[1:3], 8, HealSettings(1), tmp_path / "x", silent
        )
    with pytest.raises(BadInputError, match="at least one sample"):
        heal(tiny.model, harsh(tiny), [], HealSettings(1))
    other = replace(harsh(tiny), model=tiny.id.model_copy(update={"sha256": "00" * 32}))
    with pytest.raises(RefusedError):
        heal_model(
            tiny, other, samples[:2], samples[2:4], 8, HealSettings(1), tmp_path / "x", silent
        )
