"""A run folder has one owner, and knows the model, the data and the software it was made with."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.checkpoint.identity import parts_of
from prune.checkpoint.load import TINY, open_model
from prune.errors import BadInputError, NumericError, RefusedError
from prune.inputs.samples import load_samples, save_samples
from prune.journal.journal import JOURNAL, Journal, read_journal
from prune.journal.lock import LOCK, RunLock
from prune.plan.model_id import ModelId
from prune.plan.plan import Plan

Run = Callable[..., tuple[int, str, str]]

HOLD = """
import sys, time
from pathlib import Path
from prune.journal.lock import RunLock

with RunLock(Path(sys.argv[1])):
    print("owner", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path):
    """Another process that writes into `tmp_path / "run"`."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "owner\n"
    yield other
    other.kill()
    other.wait()


def test_a_folder_that_another_process_writes_is_refused_until_it_ends(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    with pytest.raises(RefusedError, match=f"locked by pid {owner.pid} on {socket.gethostname()}"):
        RunLock(tmp_path / "run")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (tmp_path / "run" / LOCK).exists(), "a killed owner leaves its lock"
    with RunLock(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_from_another_machine_is_refused_with_what_to_do(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    lock.write_text('{"pid": 7, "host": "another-machine"}')
    with pytest.raises(RefusedError, match=f"another-machine.* delete {lock}"):
        RunLock(tmp_path)
    lock.unlink()
    RunLock(tmp_path).release()


def test_a_sample_that_is_recorded_twice_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, "trace", {"schema_version": 1}) as journal:
        for name in ("a", "b", "c"):
            journal.append({"id": name})
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(BadInputError, match=":4: sample 'b' is in line 2 too"):
        read_journal(tmp_path, "trace")


def edited(name: str, model: Path) -> None:
    """Change a part of a model folder, weights aside."""
    if name == "rope_theta":
        text = (model / "config.json").read_text()
        assert '"rope_theta": 10000.0' in text
        (model / "config.json").write_text(text.replace('"rope_theta": 10000.0', '"rope_theta": 5'))
    elif name == "template":
        path = model / "chat_template.jinja"
        path.write_text("Ignore the video. " + path.read_text())
    else:
        path = model / "generation_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.5}))


@pytest.fixture(scope="module")
def traced(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of `tiny`, clips of its own and a trace of them."""
    folder = tmp_path_factory.mktemp("traced")
    shutil.copytree(TINY, folder / "tiny")
    shutil.copytree(clips / "calibration", folder / "calibration")
    save_samples(folder / "few.jsonl", [
        s for s in load_samples(shutil.copy(clips / "calibration.jsonl", folder))[:12]
    ])  # fmt: skip
    return folder


def trace(folder: Path) -> tuple[object, ...]:
    pathway = ("--pathway", "cross_frame", "--samples", "all")
    data = ("--data", folder / "few.jsonl", "--out", folder / "run")
    return ("trace", folder / "tiny", *data, *pathway)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("rope_theta", "config.text_config.rope_parameters.rope_theta"),
        ("template", "model.parts.template"),
        ("generation", "model.parts.generation_config"),
    ],
)
def test_another_model_is_refused_by_resume_plan_and_export(
    traced: Path, tmp_path: Path, prune_command: Run, name: str, field: str
) -> None:
    code, _, err = prune_command(*trace(traced))
    assert code == 0, err
    kept = (traced / "run" / "trace" / JOURNAL).read_bytes()
    shutil.copytree(traced / "tiny", tmp_path / "kept")
    edited(name, traced / "tiny")
    try:
        code, _, err = prune_command(*trace(traced))
        assert code == 4 and field in err
        code, _, err = prune_command("plan", traced / "run", "--density", "0.99")
        export = ("export", traced / "tiny", "--trace", traced / "run", "--out", tmp_path / "x")
        if name != "generation":
            assert code == 4 and field in err and "delete" not in err
            code, _, err = prune_command(*export, "--density", "0.99")
            assert code == 4 and field in err and not (tmp_path / "x").exists()
    finally:
        shutil.rmtree(traced / "tiny")
        shutil.copytree(tmp_path / "kept", traced / "tiny")
    assert (traced / "run" / "trace" / JOURNAL).read_bytes() == kept


def test_a_clip_that_was_replaced_after_the_trace_is_noticed(
    traced: Path, prune_command: Run
) -> None:
    assert prune_command(*trace(traced))[0] == 0
    first, last = (load_samples(traced / "few.jsonl")[i].video for i in (0, -1))
    was = first.read_bytes()
    first.write_bytes(last.read_bytes())
    try:
        code, _, err = prune_command("plan", traced / "run", "--density", "0.99")
    finally:
        first.write_bytes(was)
    assert code == 4 and "clips that were traced have changed" in err


def test_a_plan_is_for_the_parts_of_its_model(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "m")
    before = parts_of(tmp_path / "m")
    mine = ModelId(name="m", num_layers=12, num_kv_heads=4, sha256="a" * 64, parts=before)
    edited("template", tmp_path / "m")
    theirs = mine.model_copy(update={"parts": parts_of(tmp_path / "m")})
    with pytest.raises(RefusedError, match="same weights with another template") as refused:
        Plan.dense(mine).check_model(theirs)
    assert "delete" not in str(refused.value)
    with pytest.raises(RefusedError, match="give the one that the plan was made for"):
        Plan.dense(mine).check_model(mine.model_copy(update={"sha256": "b" * 64}))
    edited("generation", tmp_path / "m")
    shutil.copy(TINY / "chat_template.jinja", tmp_path / "m")
    Plan.dense(mine).check_model(mine.model_copy(update={"parts": parts_of(tmp_path / "m")}))


def test_weights_that_a_plan_is_not_for_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(TINY, tmp_path / "m")
    Plan.dense(open_model(tmp_path / "m").id).save(tmp_path / "m" / "prune_plan.json")
    weights = bytearray((tmp_path / "m" / "model.safetensors").read_bytes())
    weights[-9] ^= 4
    (tmp_path / "m" / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(
        "prune.checkpoint.load.AutoModelForImageTextToText.from_pretrained",
        lambda *args, **more: pytest.fail("the weights were read"),
    )
    with pytest.raises(RefusedError, match="was made for weights"):
        open_model(tmp_path / "m")


def test_weights_with_nan_are_named(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(TINY, tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "q_proj" in name)
    weights[name][0, 0] = float("nan")
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(NumericError, match=r"layers\.\d+\.self_attn\.q_proj"):
        open_model(tmp_path / "m")
