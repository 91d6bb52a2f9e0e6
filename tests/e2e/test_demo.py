"""The main job as a user runs it: `prune demo`, and what it must have reached."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.layout.segments import Role
from prune.plan.liveness import State, states
from prune.plan.plan import Plan

PRUNE = Path(sys.executable).with_name("prune")
Command = Callable[..., tuple[int, str, str]]

# On one thread, beside other tests, the demo alone takes ten minutes.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    run = subprocess.run(
        [PRUNE, "demo", "--out", folder], capture_output=True, text=True, timeout=1400
    )
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


def test_one_plan_removes_two_thirds_of_the_edges_for_a_point_and_beats_all_that_is_as_cheap(
    demo: tuple[Path, str],
) -> None:
    folder, stdout = demo
    assert str(folder / "tiny-pruned" / "report.html") in stdout.replace("\n", "")
    result = json.loads((folder / "tiny-pruned" / "prune_report.json").read_text())
    accuracy = result["accuracy"]
    assert result["kept_edges"] <= 0.35 * result["causal_edges"]
    assert accuracy["overall"]["difference"]["value"] >= -1.0
    state = states(Plan.load(folder / "tiny-pruned" / "prune_plan.json").reach)
    assert (state[:, Role.VIDEO] == State.DEAD).sum() >= len(state) / 3
    for drawn in accuracy["random"]:
        assert drawn <= accuracy["overall"]["dense"]["value"] - 10
    assert len(accuracy["random"]) == 2
    for baseline in result["baselines"]:
        assert baseline["difference"]["value"] > 0, baseline["name"]
    assert result["search"]["forwards"] < 0.1 * result["search"]["exhaustive"]
    assert {row["model"] for row in result["latency"]} == {"dense", "pruned"}
    short, long = result["benched"]
    assert (short["shape"]["frames"], long["shape"]["frames"]) == (8, 64)
    prefill = {r["model"]: r["median"] for r in long["latency"] if r["what"] == "LLM prefill"}
    # It was 2.3 on a quiet machine.
    assert prefill["dense"] > 1.2 * prefill["pruned"]


def test_a_second_seeded_run_writes_the_same_bytes(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = demo
    data = folder / "clips-0" / "calibration.jsonl"
    command = [PRUNE, "trace", "tiny", "--data", data, "--limit", "72", "--out"]
    process = subprocess.Popen([*command, folder / "again"], stderr=subprocess.DEVNULL)
    journal = folder / "again" / "trace" / "journal.jsonl"
    # Killed twice: once as soon as there is a record, once a little later.
    for wait in (0.0, 1.5):
        while not (journal.exists() and journal.stat().st_size > 0) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = subprocess.Popen([*command, folder / "again"], stderr=subprocess.DEVNULL)
    assert process.wait() == 0
    for name in ("header.json", "journal.jsonl"):
        first = (folder / "run-0" / "trace" / name).read_bytes()
        assert (folder / "again" / "trace" / name).read_bytes() == first


def test_the_same_search_gives_the_same_plan(tmp_path: Path, prune_command: Command) -> None:
    data, run = tmp_path / "calibration.jsonl", tmp_path / "run"
    for made in (
        ("clips", "--out", tmp_path, "--per-task", 3),
        ("trace", "tiny", "--data", data, "--limit", 6, "--out", run),
    ):
        code, _, err = prune_command(*made)
        assert code == 0, err
    # Processes of their own, since each has its own order of hashing.
    for name in ("a.json", "b.json"):
        budget = ["--max-drop", "1", "--test", tmp_path / "test.jsonl"]
        plan = [PRUNE, "plan", run, *budget, "--out", tmp_path / name]
        subprocess.run(plan, check=True, capture_output=True)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_exported_folder_works_as_the_readme_says(
    demo: tuple[Path, str], prune_command: Command
) -> None:
    folder, _ = demo
    exported, test = folder / "tiny-pruned", folder / "clips-0" / "test.jsonl"
    for command in (
        ("verify", exported),
        ("inspect", exported),
        ("report", exported),
        ("eval", exported, "--data", test, "--limit", 24),
        ("bench", exported, "--data", test, "--runs", 2),
    ):
        code, _, err = prune_command(*command)
        assert code == 0, err


def test_readme_example_runs(
    demo: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = demo
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    exec(code.replace("runs/demo", str(folder)), {})
