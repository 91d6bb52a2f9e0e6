"""Kills at any moment: run again, a command ends with the bytes of one that nobody killed."""

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Whole, export, two, write_plan
from tests.faults.driver import ONE, Zygote, tree

fault = pytest.mark.fault


@fault(1)
def test_a_trace(zygote: Zygote, eight: Path, whole: Whole, tmp_path: Path) -> None:
    kill_and_resume(zygote, eight, whole, tmp_path / "a", 2)


@pytest.mark.slow
@fault(1)
def test_the_plan_of_a_trace_that_was_killed_twenty_times(
    zygote: Zygote, eight: Path, whole: Whole, tmp_path: Path
) -> None:
    kill_and_resume(zygote, eight, whole, tmp_path / "a", 20)
    plans = [tmp_path / "a.json", tmp_path / "b.json"]
    for run, plan in zip((tmp_path / "a", whole.run), plans, strict=True):
        assert zygote.run("plan", run, "--density", 0.97, "--out", plan).code == 0
    assert plans[0].read_bytes() == plans[1].read_bytes()


def kill_and_resume(zygote: Zygote, data: Path, whole: Whole, run: Path, kills: int) -> None:
    """Trace into `run`, killed at random moments; in the end it is like `whole`."""
    draw, killed = random.Random(kills), 0
    command = ("trace", "tiny", "--data", data, *ONE, "--out", run)
    while killed < kills:
        kept = lines(run)
        started = zygote.start(*command)
        time.sleep(draw.uniform(0.05, whole.seconds))
        started.kill()
        ended = started.wait()
        # What was finished is never done again: at most the sample in work is.
        assert lines(run)[: len(kept)] == kept
        killed += ended.code == -9
        if ended.code == 0:
            assert tree(run) == whole.files
            shutil.rmtree(run)
    assert zygote.run(*command).code == 0
    assert tree(run) == whole.files


def lines(run: Path) -> list[bytes]:
    """The whole lines of a journal."""
    path = run / "trace" / "journal.jsonl"
    written = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in written if line.endswith(b"\n")]


KILL = """
import os, shutil
copy, rename = shutil.copyfile, os.rename
def copied(source, target, **more):
    if str(source).endswith(AT):
        with open(source, "rb") as read, open(target, "wb") as written:
            written.write(read.read(1000))
        os.kill(os.getpid(), 9)
    return copy(source, target, **more)
def renamed(source, target):
    if AT == "in place":
        os.kill(os.getpid(), 9)
    rename(source, target)
shutil.copyfile, os.rename = copied, renamed
"""


@fault(10)
@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_an_export_at_each_shard(
    zygote: Zygote, clips: Path, plan: Path, model: Path, measured: str, tmp_path: Path, count: int
) -> None:
    shards = sharded(model, count)
    folder = tmp_path / "in"
    folder.mkdir()
    assert export(zygote, folder / "x", plan, two(clips), model=model, before=measured).code == 0
    whole = tree(folder / "x")
    assert set(shards) < set(whole)
    target = folder / "y"
    for at in (*shards, "in place"):
        before = f"{measured}AT = {at!r}\n{KILL}"
        assert export(zygote, target, plan, two(clips), model=model, before=before).code == -9
        assert not target.exists(), at
    # An export that is replaced stays whole.
    before = f"{measured}AT = {shards[0]!r}\n{KILL}"
    command = (zygote, folder / "x", plan, two(clips), "--force")
    assert export(*command, model=model, before=before).code == -9
    assert tree(folder / "x") == whole
    for path in (target, folder / "x"):
        done = export(zygote, path, plan, two(clips), "--force", model=model, before=measured)
        assert done.code == 0 and tree(path) == whole
    assert sorted(path.name for path in folder.iterdir()) == ["x", "y"]


def sharded(model: Path, count: int) -> list[str]:
    """Split a model's weights into several files; returns their names."""
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = [f"model-{n + 1:05}-of-{count:05}.safetensors" for n in range(count)]
    places = {tensor: names[n % count] for n, tensor in enumerate(sorted(weights))}
    for name in names:
        save_file({t: w for t, w in weights.items() if places[t] == name}, model / name)
    index = {"metadata": {}, "weight_map": places}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    return names


@pytest.mark.slow
def test_healing_under_several_plans(
    zygote: Zygote, data: Path, clips: Path, tmp_path: Path
) -> None:
    plans: list[object] = []
    for name in ("a", "b"):
        plans += ["--plan", write_plan(tmp_path / f"{name}.json", name=name)]
    command = ("heal", "tiny", *plans, "--data", data, "--test", two(clips), "--steps", 1,
               "--rank", 0, "--frames", 2, "--out")  # fmt: skip
    assert zygote.run(*command, tmp_path / "x").code == 0
    run = tmp_path / "y"
    started = zygote.start(*command, run)
    while not (run / "a").exists():
        time.sleep(0.002)
    started.kill()
    assert started.wait().code == -9
    first = {path: path.stat().st_mtime_ns for path in (run / "a").iterdir()}
    assert not (run / "b").exists()
    done = zygote.run(*command, run)
    assert done.code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in (run / "a").iterdir()} == first
    relative = {name: bytes_of for name, bytes_of in tree(run).items() if "plan.json" not in name}
    expected = {n: h for n, h in tree(tmp_path / "x").items() if "plan.json" not in n}
    assert relative == expected
    assert sorted(path.name for path in run.iterdir()) == ["a", "b", "healing.json", "healing.png"]
