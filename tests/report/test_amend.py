"""A report is amended whole or not at all, and the manifest stays true."""

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prune.checkpoint.load import LoadedModel
from prune.checkpoint.manifest import MANIFEST, verify
from prune.errors import BadInputError, RefusedError, ResourceError, VerificationError
from prune.inputs.samples import Sample
from prune.report.audit_page import AUDIT_PAGE
from prune.results.export_result import RESULT_FILE, Result
from prune.workflows.amend import amend, is_export
from tests.exports import mixed_export


@pytest.fixture(scope="module")
def original(
    tiny: LoadedModel, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return mixed_export(tiny, samples, tmp_path_factory.mktemp("amend") / "pruned")


@pytest.fixture
def exported(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "pruned"))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_report_and_its_pages_change_and_nothing_else(exported: Path) -> None:
    before = _contents(exported)
    page = amend(
        exported,
        lambda r: replace(r, conditions={**r.conditions, "device": "another"}),
        {AUDIT_PAGE: "<p>audit</p>"},
    )
    after = _contents(exported)
    assert page == exported / "report.html" and "another" in page.read_text()
    assert Result.load(exported / RESULT_FILE).conditions["device"] == "another"
    assert (exported / AUDIT_PAGE).read_text() == "<p>audit</p>"
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {MANIFEST, RESULT_FILE, "report.html", AUDIT_PAGE}
    assert verify(exported) == len(after) - 1
    assert [p.name for p in exported.parent.iterdir()] == ["pruned"]


def test_weights_are_not_copied(exported: Path) -> None:
    inode = (exported / "model.safetensors").stat().st_ino
    amend(exported)
    assert (exported / "model.safetensors").stat().st_ino == inode


def test_without_hard_links_they_are(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    amend(exported)
    verify(exported)


def test_damage_stays_visible(exported: Path) -> None:
    weights = exported / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    amend(exported)
    with pytest.raises(VerificationError, match=r"model\.safetensors is damaged"):
        verify(exported)


def test_what_fails_leaves_the_old_report(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _contents(exported)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("prune.workflows.amend.write_report", full)
    with pytest.raises(ResourceError, match="no space left"):
        amend(exported, lambda r: replace(r, conditions={}))
    assert _contents(exported) == before
    assert [p.name for p in exported.parent.iterdir()] == ["pruned"]


def test_what_is_no_export_is_left_alone(exported: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(exported)
    with pytest.raises(RefusedError, match="symbolic link"):
        amend(link)
    assert is_export(exported) and not is_export(tmp_path)
    (exported / RESULT_FILE).write_text("{}")
    before = _contents(exported)
    with pytest.raises(BadInputError, match="not a prune report"):
        amend(exported)
    assert _contents(exported) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_kill_leaves_an_export_that_verifies(exported: Path, seed: int) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from prune.workflows.amend import amend\n"
        "while True:\n"
        "    print(amend(Path(sys.argv[1])), flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, exported], stdout=subprocess.PIPE)
    assert process.stdout is not None
    started = time.monotonic()
    process.stdout.readline()
    # Somewhere in the second round, which takes less than the first with its imports.
    time.sleep(random.Random(seed).random() * (time.monotonic() - started) / 4)
    process.kill()
    process.wait()
    verify(exported)
    Result.load(exported / RESULT_FILE)
    amend(exported)
    assert [p.name for p in exported.parent.iterdir()] == ["pruned"]
