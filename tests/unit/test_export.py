"""An export is written whole or not at all, with everything that belongs to it."""

import json
import os
import shutil
import stat
import time
import tracemalloc
from dataclasses import replace
from multiprocessing.context import ForkProcess as Process
from pathlib import Path

import numpy as np
import pytest

from prune.checkpoint.load import TINY, LoadedModel
from prune.checkpoint.manifest import MANIFEST, verify
from prune.checkpoint.origin import origin_of
from prune.errors import (
    RefusedError,
    ResourceError,
    UsageError,
    VerificationError,
)
from prune.inputs.samples import Sample
from prune.io.files import put_in_place, sha256_of
from prune.plan.budget import Budget
from prune.plan.plan import PLAN_FILE, Plan
from prune.results.export_result import Result
from prune.workflows.amend import amend
from prune.workflows.export import export_model
from prune.workflows.write_export import check_target, export
from tests.exports import small_result
from tests.unit.test_apply import mixed_plan


def test_round_trip_is_byte_equal(tiny: LoadedModel, exported: Path) -> None:
    text = (exported / PLAN_FILE).read_text()
    assert Plan.load(exported / PLAN_FILE).to_json() == text == mixed_plan(tiny).to_json()
    weights = "model.safetensors"
    assert (exported / weights).read_bytes() == (TINY / weights).read_bytes()
    result = Result.load(exported / "prune_report.json")
    result.save(exported.parent / "again.json")
    assert (exported.parent / "again.json").read_bytes() == (
        exported / "prune_report.json"
    ).read_bytes()


def test_a_large_shard_is_streamed_and_read_once(
    tiny: LoadedModel, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, size = tmp_path / "source", tmp_path / "out", 2**27
    shutil.copytree(TINY, source)
    (source / "large.safetensors").touch()
    os.truncate(source / "large.safetensors", size)
    result = Result.load(exported / "prune_report.json")
    # Its figures take memory of their own, which is not a question of shards.
    monkeypatch.setattr(
        "prune.workflows.write_export.write_report", lambda stage, result, plan: None
    )
    tracemalloc.start()
    export(replace(tiny, folder=source), mixed_plan(tiny), result, out)
    verify(out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 8
    marks = [time.process_time()]
    for check in (lambda: sha256_of(out / "large.safetensors"), lambda: verify(out)):
        check()
        marks.append(time.process_time())
    once, whole = np.diff(marks)
    assert whole < 2 * once


EXTRAS = {
    "additional_chat_templates/tools.jinja": "{{ messages }}",
    "assets/deep/vocabulary.txt": "words",
    "special.jinja": "{{ messages }}",
    "LICENSE": "Apache License\nVersion 2.0",
    "NOTICE": "by the authors",
}
NEVER = ("modeling.py", "code/run.py", "old/weights.PT", ".git/config", ".cache/a.json", ".env")


@pytest.fixture
def source(tiny: LoadedModel, tmp_path: Path) -> Path:
    """A model folder with sub-folders, a licence, code, pickles and caches."""
    folder = tmp_path / "source"
    shutil.copytree(TINY, folder)
    for name in (*EXTRAS, *NEVER):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(EXTRAS.get(name, "not for others"))
    (folder / "README.md").write_text(
        "---\nbase_model:\n- org/model\nlicense: other\nlicense_name: ours\ntags: [a]\n---\n"
    )
    return folder


def test_everything_but_code_pickles_and_caches_is_exported(
    tiny: LoadedModel, exported: Path, source: Path
) -> None:
    result, out = Result.load(exported / "prune_report.json"), source.parent / "out"
    (source / "again.txt").symlink_to("NOTICE")
    export(replace(tiny, folder=source), mixed_plan(tiny), result, out)
    for name, text in EXTRAS.items():
        assert (out / name).read_text() == text
    assert (out / "again.txt").read_text() == EXTRAS["NOTICE"]
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert not any((out / name).exists() for name in NEVER)
    assert {*EXTRAS} < json.loads((out / MANIFEST).read_text())["files"].keys()
    assert verify(out) == sum(path.is_file() for path in out.rglob("*")) - 1
    amend(out)
    assert verify(out) == sum(path.is_file() for path in out.rglob("*")) - 1
    # A clone's or a download's own files do not belong to the export.
    (out / ".git").mkdir()
    (out / ".git" / "config").touch()
    verify(out)
    amend(out)
    assert (out / ".git" / "config").exists()
    (out / "assets" / "deep" / "vocabulary.txt").write_text("swords")
    (out / "assets" / "more.json").touch()
    (out / "additional_chat_templates" / "tools.jinja").unlink()
    with pytest.raises(VerificationError) as error:
        verify(out)
    for part in (
        "assets/deep/vocabulary.txt is damaged",
        "assets/more.json is unknown",
        "additional_chat_templates/tools.jinja is missing",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["tokens.json", "assets/more"])
def test_a_link_out_of_the_model_is_refused_before_a_search(source: Path, name: str) -> None:
    (source.parent / "secret").mkdir()
    (source / name).symlink_to(source.parent / "secret")
    with pytest.raises(RefusedError, match=f"{name}: leads out of the model folder"):
        check_target(source, source.parent / "out", force=False)


def test_the_card_names_base_model_and_licence(
    tiny: LoadedModel, exported: Path, source: Path
) -> None:
    result, out = Result.load(exported / "prune_report.json"), source.parent / "out"
    export(replace(tiny, folder=source), mixed_plan(tiny), result, out)
    expected = {"base_model": "org/model", "license": "other", "license_name": "ours"}
    for _ in range(2):
        assert origin_of(out) == expected
        card = (out / "README.md").read_text()
        assert "Base model: `org/model`." in card and "Licence of the weights: ours." in card
        amend(out)
    named = replace(tiny, folder=source, id=tiny.id.model_copy(update={"name": "org/tuned"}))
    export(named, mixed_plan(tiny), result, out, force=True)
    assert origin_of(out)["base_model"] == "org/tuned"
    assert "base_model" not in (exported / "README.md").read_text()


@pytest.mark.parametrize(
    ("card", "licence", "origin"),
    [
        ("---\nlicense: mit\n---\n", "Apache License", {"license": "mit"}),
        ("# no front matter", "  Apache License\n", {"license": "apache-2.0"}),
        ("---\n[a\n---\n", "MIT License", {"license": "mit"}),
        ("---\n- a\n---\n", "Ours", {"license": "other", "license_link": "LICENSE"}),
        ("---\nlicense: 'a\n\n  b: c'\nbase_model: [a/b, c/d]\n---\n", None, {}),
    ],
)
def test_an_origin_is_what_the_folder_states(
    tmp_path: Path, card: str, licence: str | None, origin: dict[str, str]
) -> None:
    (tmp_path / "README.md").write_text(card)
    if licence is not None:
        (tmp_path / "LICENSE").write_text(licence)
    assert origin_of(tmp_path) == origin


def test_modes_follow_the_umask(exported: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    for path in exported.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_refused_targets(
    tiny: LoadedModel, samples: list[Sample], exported: Path, tmp_path: Path
) -> None:
    plan = mixed_plan(tiny)
    result = small_result(tiny, plan, samples)
    link = tmp_path / "link"
    link.symlink_to(TINY)
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    for target, force, message in (
        (exported, False, "exists already"),
        (TINY, True, "is, holds or lies in"),
        (TINY / "sub", True, "is, holds or lies in"),
        (link, True, "is, holds or lies in"),
        (other, True, "was not written by prune export"),
        (tmp_path / "missing" / "out", False, "no such folder"),
    ):
        with pytest.raises(RefusedError, match=message):
            export(tiny, plan, result, target, force)
    assert (other / "precious.txt").read_text() == "mine"
    before = (exported / MANIFEST).read_bytes()
    export(tiny, plan, result, exported, force=True)
    assert (exported / MANIFEST).read_bytes() == before
    assert [p.name for p in exported.parent.iterdir() if p.name.startswith(".")] == []


def test_what_an_export_needs_is_said_before_the_model_is_opened(
    tiny: LoadedModel, tmp_path: Path
) -> None:
    plan, budget = mixed_plan(tiny), Budget("max_drop", 0.5)
    test, out = tmp_path / "test.jsonl", tmp_path / "out"
    for given, message in (
        ({"plan": None, "budget": None, "test": test}, "a search needs --trace RUN"),
        ({"budget": budget, "test": test}, "a search needs --trace RUN"),
        ({"plan": plan, "budget": budget, "test": test}, "give one of them"),
        ({"plan": plan}, "give --test"),
    ):
        with pytest.raises(UsageError, match=message):
            export_model("no-model", out, **given)  # type: ignore[arg-type]


def test_page_escapes_what_it_shows(exported: Path) -> None:
    page = (exported / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def exporting(opened: LoadedModel, source: Path, out: Path) -> Process:
    """A process of its own that exports `source`'s plan to `out`."""
    plan = Plan.load(source / PLAN_FILE)
    result = Result.load(source / "prune_report.json")
    # Forked, so that the model is there at once.
    process = Process(target=export, args=(opened, plan, result, out, out.exists()))
    process.start()
    return process


def killed(process: Process, delay: float) -> None:
    time.sleep(delay)
    process.kill()
    process.join()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.08])
def test_a_killed_export_leaves_nothing_or_everything(
    tiny: LoadedModel, exported: Path, tmp_path: Path, delay: float
) -> None:
    out = tmp_path / "out"
    killed(exporting(tiny, exported, out), delay)
    if out.exists():
        verify(out)
    exporting(tiny, exported, out).join()
    verify(out)
    assert not list(tmp_path.glob(".out.*")), "a stale stage is cleaned up"


@pytest.mark.slow
def test_fifty_kills(tiny: LoadedModel, exported: Path, tmp_path: Path) -> None:
    out, started = tmp_path / "out", time.monotonic()
    exporting(tiny, exported, tmp_path / "whole").join()
    longest = 1.2 * (time.monotonic() - started)
    there = []
    for delay in np.random.default_rng(0).uniform(0, longest, 50):
        killed(exporting(tiny, exported, out), float(delay))
        there.append(out.exists())
        if out.exists():
            verify(out)
    # Once there, an export is only ever replaced by a whole one.
    assert there == sorted(there) and there[-1]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_is_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr("prune.io.files._exchange", lambda a, b: False)
    for name in ("stage", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    put_in_place(tmp_path / "stage", tmp_path / "target")
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("*/*")} == {
        "stage/target",
        "target/stage",
    }


def test_a_full_disk_is_seen_before_anything_is_written(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = mixed_plan(tiny)
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr("prune.workflows.write_export.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="GiB free"):
        export(tiny, plan, small_result(tiny, plan, samples), tmp_path / "out")
    assert not list(tmp_path.iterdir())
