"""The recipe of `tiny-deep`: packed questions are as if alone, a stopped run goes on exactly."""

import importlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from prune.checkpoint.load import open_model
from prune.inputs.samples import load_samples
from prune.layout.pathways import Role
from prune.layout.reach import NONE
from prune.tiny.benchmark import write_benchmark
from prune.tiny.task_sets import TASK_SETS, scene_for

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny"


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, ModuleType]]:
    """Every module of the recipe by name; they import each other as the commands do."""
    before = set(sys.modules)
    sys.path.insert(0, str(RECIPE))
    yield {path.stem: importlib.import_module(path.stem) for path in RECIPE.glob("*.py")}
    sys.path.remove(str(RECIPE))
    for name in set(sys.modules) - before:
        if str(RECIPE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def training(recipe: dict[str, ModuleType]) -> Any:
    return recipe["train_deep"].Training(seed=0, lr=1e-3, matrix_lr=1e-3)


def _short(lesson: Any, steps: int) -> Any:
    """The lesson with few steps, clips and questions."""
    slots = tuple(replace(s, count=1) for s in lesson.slots)
    return replace(lesson, steps=steps, clips=2, frames=(4,) if lesson.frames else (), slots=slots)


def test_a_packed_question_is_as_if_it_stood_alone(
    recipe: dict[str, ModuleType], training: Any
) -> None:
    packing, motion, model = recipe["packing"], recipe["motion"], training.model
    slots = (packing.Slots("open", 2, 20), packing.Slots("choice", 2, 58))
    batch = packing.Packer(training.tokenizer, "train", 3).batch(1, slots, 4)
    with torch.no_grad():
        hidden = motion.embed(model, batch, motion.features_of(model, batch.pixels))
        hidden = motion.run_layers(model, batch, hidden, slice(None))
        logits = model.lm_head(model.model.language_model.norm(hidden))[0]
        prefix = int((batch.positions[0].diff() != 1).nonzero()[0]) + 1 - slots[0].width
        model.set_attn_implementation({"text_config": "sdpa"})
        for (_, first, _, _), start in zip(batch.watched, (0, 20, 40, 98), strict=True):
            own = batch.input_ids[:, prefix + start : first + 1]
            alone = model(
                input_ids=torch.cat([batch.input_ids[:, :prefix], own], 1),
                pixel_values_videos=batch.pixels,
            ).logits[0, -1]
            torch.testing.assert_close(logits[first], alone, atol=1e-4, rtol=1e-4)
        model.set_attn_implementation({"text_config": "packed_deep"})


def test_a_batch_that_shows_nothing_has_a_finite_loss(recipe: dict[str, ModuleType]) -> None:
    motion = recipe["motion"]
    guess = torch.zeros(2, 4, 9, motion.CONTENT, requires_grad=True)
    area, centre = torch.zeros(2, 4, 9, motion.KINDS), torch.zeros(2, 4, 9, 2)
    motion._content_loss(guess, area, centre).backward()
    assert torch.isfinite(guess.grad).all()


def test_a_stopped_run_goes_on_exactly(
    recipe: dict[str, ModuleType], training: Any, tmp_path: Path
) -> None:
    """Four steps are the same with and without a stop after two, over the end of a lesson."""
    deep = recipe["train_deep"]
    lessons = tuple(_short(lesson, 2) for lesson in deep.LESSONS[:2])
    assert lessons[0].motion and lessons[1].slots
    losses = []
    for step in range(4):
        if step == 1:
            deep.save_state(tmp_path / "state.pt", training.state())
        losses.append(training.train_step(lessons)["loss"])
    resumed = deep.Training(seed=1, lr=1e-3, matrix_lr=1e-3)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [resumed.train_step(lessons)["loss"] for _ in range(3)] == losses[1:]
    assert (resumed.lesson, resumed.step, resumed.total) == (2, 0, 4)
    for (name, one), other in zip(
        training.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_the_command_resumes_and_writes_a_model_that_opens(
    recipe: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = recipe["train_deep"]
    short = tuple(_short(lesson, 1) for lesson in deep.LESSONS)
    monkeypatch.setattr(deep, "evaluate", lambda *args: {})
    monkeypatch.setattr(sys, "argv", ["train_deep.py", "--out", str(tmp_path)])
    for count in (1, len(short)):
        monkeypatch.setattr(deep, "LESSONS", short[:count])
        deep.main()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["at"] == (len(short), 0, len(short))
    opened = open_model(str(tmp_path))
    assert opened.id.num_layers == 20
    assert opened.processor.tokens_per_frame == 9


RANKS = """
import atexit
import sys
from pathlib import Path
import torch
from ranks import average_gradients, gathered, join
# What is registered first runs last.
inside = torch.distributed.is_initialized
atexit.register(lambda: Path(sys.argv[1], str(rank)).write_text(f"inside: {inside()}"))
rank, ranks = join()
torch.manual_seed(0)
shared, own, idle = (torch.nn.Parameter(torch.randn(3)) for _ in range(3))
clips = torch.randn(4, 3)
loss = (clips[2 * rank : 2 * rank + 2] @ shared).square().mean() + rank * (own.sum() if rank else 0)
loss.backward()
average_gradients([shared, own, idle])
expected, = torch.autograd.grad((clips @ shared).square().mean(), shared)
torch.testing.assert_close(shared.grad, expected)
torch.testing.assert_close(own.grad, torch.full((3,), 1 / ranks))
assert idle.grad is None and gathered(rank) == [0, 1]
"""


def test_the_gradients_of_two_processes_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    env = {**os.environ, "PYTHONPATH": str(RECIPE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "2", str(tmp_path / "train.py"), str(tmp_path)],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["inside: False"] * 2


def test_facts_are_true_and_fit_their_slots(recipe: dict[str, ModuleType], training: Any) -> None:
    packing, rng = recipe["packing"], random.Random(0)
    packer = packing.Packer(training.tokenizer, "train", 0)
    widths = {s.kind: s.width for lesson in recipe["train_deep"].LESSONS for s in lesson.slots}
    for task in TASK_SETS["events"]:
        for _ in range(30):
            scene = scene_for(task, "train", rng)
            for kind, width in widths.items():
                prompt, reply, _ = packer._text(kind, scene, task)
                assert len(packer.encode(prompt)) + len(packer.encode(reply)) <= width
            name, text, answer = recipe["facts"].fact(task, scene, rng)
            here = {t.name for t in scene.things if not getattr(t, "dark", False)}
            if name == "step/existence":
                assert (text[len("Is there a ") : -1] in here) is (answer == "yes")
            if name == "step/way":
                thing = next(t for t in scene.things if t.name in text)
                assert (thing.at(0)[:2] == thing.at(1)[:2]) is (answer == "nowhere")


def _measured(recipe: dict[str, ModuleType], folder: Path, per_task: int, traced: int) -> Any:
    data = write_benchmark(folder, "test", per_task, seed=1, task_set="events")
    return recipe["bars"].measure(open_model("tiny-deep"), load_samples(data), 8, traced)


def test_tiny_deep_has_the_stages_of_the_paper(
    recipe: dict[str, ModuleType], tmp_path: Path
) -> None:
    found = _measured(recipe, tmp_path, 6, 36)
    # That it is not right everywhere is not seen in 72 clips.
    assert found["mean"] >= 85
    lost = sorted(-v["value"] for v in found["cross_frame_first_half"].values())
    assert lost[-3] >= 20
    first, second, third = (v["value"] for v in list(found["centres"].values())[:3])
    assert first < second < third
    # One of 72 answers is 1.4 points.
    assert min(v["value"] for v in found["last_third"].values()) > -1.5


@pytest.mark.slow
def test_tiny_deep_meets_its_bars(recipe: dict[str, ModuleType], tmp_path: Path) -> None:
    met = recipe["bars"].met(_measured(recipe, tmp_path, 100, 240))
    assert all(met.values()), met


def test_the_centre_of_a_curve(recipe: dict[str, ModuleType]) -> None:
    bars = recipe["bars"]
    rng = np.random.default_rng(0)
    curves = np.zeros((40, 3, 10))
    for stage, layer in enumerate((2, 5, 7)):
        curves[:, stage, layer - 1 : layer + 2] = rng.uniform(0.2, 1, (40, 1)) * [0.5, 1, 0.5]
    found = bars.centres(curves)
    assert [round(v.value, 6) for v in found] == [2, 5, 7, 3, 2]
    assert all(v.low <= v.value <= v.high and v.high - v.low < 1e-6 for v in found)
    curves[:, 0] = 0
    assert np.isnan(bars.centres(curves)[0].value)


def test_what_is_cut_for_the_bars(recipe: dict[str, ModuleType]) -> None:
    tables = recipe["bars"].tables(20)
    first, late = tables["cross-frame, first half"], tables["all of these, last third"]
    assert (first[:10, :, Role.VIDEO, Role.VIDEO] == 0).all()
    assert (first[10:] == tables["dense"][10:]).all()
    assert (late[:14] == tables["dense"][:14]).all()
    for reader in (Role.QUESTION, Role.OPTIONS, Role.LAST):
        assert (late[14:, :, reader, Role.VIDEO] == NONE).all()
