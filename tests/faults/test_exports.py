"""Faults of exports: full disks, kills, targets, modes, flipped bytes, other models."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from prune.checkpoint.load import EMBEDDED, TINY
from tests.faults.conftest import export, two
from tests.faults.driver import Zygote, tree

fault = pytest.mark.fault


@fault(9)
def test_the_disk_fills_up(
    zygote: Zygote, clips: Path, plan: Path, measured: str, tmp_path: Path
) -> None:
    target = tmp_path / "in" / "x"
    target.parent.mkdir()
    limits = {"RLIMIT_FSIZE": 3_000_000}
    done = export(zygote, target, plan, two(clips), limits=limits, before=measured)
    assert done.code == 6 and done.error
    assert not list(target.parent.iterdir())


@fault(11)
def test_targets_that_are_there(
    zygote: Zygote, clips: Path, plan: Path, exported: Path, measured: str, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "full").mkdir(parents=True)
    (folder / "full" / "precious").write_text("mine")
    (folder / "empty").mkdir()
    (folder / "file").write_text("mine")
    shutil.copytree(exported, folder / "x")
    before = tree(folder)
    for name in ("full", "empty", "file", "no/such/x", "file/x"):
        for more in ((), ("--force",)):
            done = export(zygote, folder / name, plan, two(clips), *more)
            assert done.code == 4 and done.error, name
    done = export(zygote, folder / "x", plan, two(clips))
    assert done.code == 4 and "--force to replace it" in done.error
    assert tree(folder) == before and (folder / "empty").is_dir()
    done = export(zygote, folder / "x", plan, two(clips), "--force", before=measured)
    assert done.code == 0, done.err
    assert zygote.run("verify", folder / "x").code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "file", "full", "x"]


@fault(11)
def test_parents_that_cannot_be_written(zygote: Zygote, clips: Path, plan: Path) -> None:
    """Root may write everywhere: there the command is nobody's."""
    nobody = "import os; os.setgid(65534); os.setuid(65534)" if os.geteuid() == 0 else ""
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(TINY, folder / "model")
        shutil.copytree(clips, folder / "clips")
        shutil.copy(plan, folder / "p.json")
        (folder / "in").mkdir()
        for path in (folder, folder / "in"):
            path.chmod(0o555)
        test = folder / "clips" / two(clips).name
        for target in (folder / "in" / "x", Path("/proc/x")):
            done = export(zygote, target, folder / "p.json", test, model=folder / "model",
                          before=nobody)  # fmt: skip
            assert done.code in (4, 6) and done.error
            assert not target.exists() and not list((folder / "in").iterdir())
    finally:
        for path in (folder, folder / "in"):
            path.chmod(0o755)
        shutil.rmtree(folder)


@fault(12)
def test_onto_the_source(
    zygote: Zygote, clips: Path, plan: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(model)
    before = tree(model)
    for target in (model, tmp_path / "link", model / "sub", tmp_path / "x" / ".." / "model"):
        done = export(zygote, target, plan, two(clips), "--force", model=model)
        assert done.code == 4 and done.error
    assert tree(model) == before


@fault(13)
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_modes(
    zygote: Zygote,
    clips: Path,
    plan: Path,
    data: Path,
    measured: str,
    tmp_path: Path,
    umask: int,
    mode: int,
) -> None:
    done = export(zygote, tmp_path / "x", plan, two(clips), umask=umask, before=measured)
    assert done.code == 0, done.err
    healed = zygote.run(
        "heal", "tiny", "--plan", plan, "--data", data, "--test", two(clips), "--steps", 1,
        "--frames", 2, "--out", tmp_path / "h", umask=umask,
    )  # fmt: skip
    assert healed.code == 0, healed.err
    files = [path for name in ("x", "h") for path in (tmp_path / name).iterdir()]
    assert {path.name: path.stat().st_mode & 0o777 for path in files} == {
        path.name: mode for path in files
    }


@fault(14)
def test_a_flipped_byte(zygote: Zygote, clips: Path, exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "x")
    path = tmp_path / "x" / "model.safetensors"
    weights = bytearray(path.read_bytes())
    weights[-9] ^= 4
    path.write_bytes(weights)
    done = zygote.run("verify", tmp_path / "x")
    assert done.code == 8 and "model.safetensors is damaged" in done.error
    read = tmp_path / "read"
    before = (
        "import prune.checkpoint.load as l\n"
        "def load(*a, **k):\n"
        f"    open({str(read)!r}, 'w')\n"
        "    raise SystemExit(1)\n"
        "l.AutoModelForImageTextToText.from_pretrained = load"
    )
    done = zygote.run("eval", tmp_path / "x", "--data", two(clips), before=before)
    assert done.code == 4 and "was made for weights" in done.error
    assert not read.exists(), "the weights were read before their hash was compared"


@fault(15)
def test_a_plan_for_another_model(
    zygote: Zygote, clips: Path, exported: Path, model: Path, tmp_path: Path
) -> None:
    plan = exported / "prune_plan.json"
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(
        config.replace('"rope_theta": 10000.0', '"rope_theta": 500.0')
    )
    done = export(zygote, tmp_path / "x", plan, two(clips), model=model)
    assert done.code == 4 and "another config" in done.error and "delete" not in done.error
    (model / "config.json").write_text(config)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-9] ^= 4
    (model / "model.safetensors").write_bytes(weights)
    done = export(zygote, tmp_path / "x", plan, two(clips), model=model)
    assert done.code == 4 and "was made for weights" in done.error and "delete" not in done.error
    done = export(zygote, tmp_path / "x", plan, two(clips), model=EMBEDDED["tiny-ov"])
    assert done.code == 4 and not (tmp_path / "x").exists()
