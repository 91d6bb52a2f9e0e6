"""`prune export --objective hallucination`, from a trace to its report, on a short search."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.inputs.samples import load_samples, save_samples
from prune.plan.plan import PLAN_FILE, Plan
from prune.report.page import PAGE
from prune.results.export_result import RESULT_FILE
from prune.workflows import plan as search_workflow


def test_the_command_runs_to_its_report(
    prune_command: Callable[..., tuple[int, str, str]],
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = [s for s in load_samples(clips / "calibration.jsonl") if s.task == "object_existence"]
    data = clips / "existence.jsonl"
    save_samples(data, asked)
    few = ("--frames", 2, "--out", tmp_path / "run", "--pathway", "cross_frame")
    code, _, err = prune_command("trace", "tiny", "--data", data, "--samples", "all", *few)
    assert code == 0, err
    monkeypatch.setattr(search_workflow, "MAX_RUNS", 8)
    tasks = ("--test", clips / "test.jsonl", "--tasks", "object_existence")
    how = ("--trace", tmp_path / "run", "--objective", "hallucination", "--max-drop", 5)
    out = tmp_path / "mended"
    code, text, err = prune_command("export", "tiny", *how, *tasks, "--out", out, "--json")
    assert code == 0, err
    plan = Plan.load(out / PLAN_FILE)
    assert json.loads(text)["plan"]["name"] == plan.name
    assert plan.origin["objective"] == "hallucination"
    report = json.loads((out / RESULT_FILE).read_text())
    seen = report["accuracy"]["existence"]
    absent = sum(
        s.options[s.answer] == "no"
        for s in load_samples(clips / "test.jsonl") if s.task == "object_existence"
    )  # fmt: skip
    assert seen["absent"] == absent and {"before", "after", "change"} <= set(seen)
    assert "absent things are said to be there" in (out / PAGE).read_text()
