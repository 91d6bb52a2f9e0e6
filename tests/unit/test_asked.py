"""Every command that asks a model takes its words, records them, and asks an export as it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prune.checkpoint.load import LoadedModel
from prune.inputs.media import Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING, INSTRUCTION
from prune.inputs.samples import Sample
from prune.plan.plan import PLAN_FILE
from prune.results.healed import HEALED_FILE
from prune.workflows.asked import Reading, asked_as, read_as, told_words
from prune.workflows.evaluate import evaluate_model
from prune.workflows.export import export_model
from prune.workflows.write_export import export
from tests.exports import small_result
from tests.unit.test_apply import mixed_plan

Run = Callable[..., tuple[int, str, str]]

OWN = "Look at the clip: {question}\n{options:A.}\nSay the letter."
USUAL = "Question: {question}\nOptions:\n{options}\n" + INSTRUCTION
CUE = "The answer, one of A to D: ("


@pytest.fixture(scope="module")
def own(tiny: LoadedModel, samples: list[Sample], tmp_path_factory: Any) -> Path:
    """An export whose calibration asked in its own words."""
    plan = mixed_plan(tiny)
    asked = replace(samples[0], cue=CUE, wording=replace(DEFAULT_WORDING, prompt=OWN))
    result = small_result(tiny, plan, samples)
    result = replace(result, conditions={**result.conditions, **told_words(asked)})
    return export(tiny, plan, result, tmp_path_factory.mktemp("own") / "pruned")


def test_an_export_is_asked_as_it_was_unless_told_otherwise(own: Path, exported: Path) -> None:
    cue, wording = asked_as((None, "tiny", own), None, None, None)
    assert (cue, wording) == (CUE, replace(DEFAULT_WORDING, prompt=OWN))
    cue, wording = asked_as((own,), "", "Be brief.", "")
    assert (cue, wording) == ("", replace(DEFAULT_WORDING, system="Be brief."))
    assert asked_as((exported, own), None, None, None) == (ANSWER_CUE, DEFAULT_WORDING)


@pytest.fixture(scope="module")
def half(clips: Path, tmp_path_factory: Any) -> Path:
    """An export that was measured on one frame a second of every clip, in bfloat16."""
    out = tmp_path_factory.mktemp("half") / "pruned"
    export_model(
        "tiny", out, test=clips / "test.jsonl", keep="video->last=none", limit=2,
        num_frames=3, media=Media(fps=1.0), dtype="bfloat16",
    )  # fmt: skip
    return out


def test_an_export_is_read_and_loaded_as_it_was_unless_told_otherwise(
    half: Path, own: Path
) -> None:
    assert read_as((None, "tiny", half, own)) == Reading(3, Media(fps=1.0), "bfloat16")
    told = read_as(("tiny", half), 5, Media("uniform", max_pixels=4), "float32")
    assert told == Reading(5, Media("uniform", max_pixels=4), "float32")
    assert read_as(("tiny",)) == Reading() and read_as((own,)).num_frames == 8


def test_eval_explain_and_audit_read_and_load_an_export_as_it_was(
    prune_command: Run, half: Path, clips: Path, tmp_path: Path
) -> None:
    data = clips / "test.jsonl"

    def answers(**how: Any) -> list[tuple[float, ...]]:
        found = evaluate_model(half, data, tasks=["moving_direction"], **how)
        return [answer.p_options for answer in found.answers]

    as_exported = {"num_frames": 3, "media": Media(fps=1.0), "dtype": "bfloat16"}
    told = answers()
    assert told == answers(**as_exported)
    for other in ({"num_frames": 1}, {"media": Media("uniform")}, {"dtype": "float32"}):
        assert told != answers(**other)
    few = ("--data", data, "--tasks", "moving_direction", "--per-task", 1)
    ways = ("--regions", "frames", "--out", tmp_path / "run")
    assert prune_command("explain", half, *few, *ways)[0] == 0
    header = _header(tmp_path / "run")
    assert (header["settings"]["num_frames"], header["fps"]) == (3, 1.0)
    assert header["dtype"] == "bfloat16"
    code, _, err = prune_command("explain", half, *few, *ways, "--dtype", "float32")
    assert code == 4 and "dtype" in err
    far = ("--endpoint", "http://localhost:1/v1/chat/completions", "--dtype", "float32")
    code, _, err = prune_command("explain", half, *few, *ways, *far)
    assert code == 2 and "--dtype" in err
    audit = ("--count", 2, "--limit", 1, "--out", tmp_path / "audit")
    assert prune_command("audit", "tiny", half, *few, *audit)[0] in (0, 8)
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert found["settings"]["num_frames"] == 3


def test_eval_asks_an_export_as_it_was(own: Path, clips: Path) -> None:
    def answers(**how: Any) -> list[tuple[float, ...]]:
        found = evaluate_model(own, clips / "test.jsonl", tasks=["object_count"], **how)
        return [answer.p_options for answer in found.answers]

    told = answers()
    assert told == answers(cue=CUE, prompt=OWN)
    assert told != answers(cue=CUE, prompt="") and told != answers(cue=ANSWER_CUE)


def test_a_report_with_another_template_is_refused(
    prune_command: Run, own: Path, clips: Path, tmp_path: Path
) -> None:
    for file in own.iterdir():
        (tmp_path / file.name).symlink_to(file)
    path = tmp_path / "prune_report.json"
    report = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**report, "conditions": {"prompt": "{options}"}}))
    code, _, err = prune_command("eval", tmp_path, "--data", clips / "test.jsonl")
    assert code == 3 and "prune_report.json: prompt '{options}': give a template" in err


def _header(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "evidence" / "header.json").read_text())
    return found


def test_explain_records_what_it_asked(
    prune_command: Run, own: Path, clips: Path, tmp_path: Path
) -> None:
    how = ("--data", clips / "test.jsonl", "--per-task", 1, "--tasks", "object_count")
    few = (
        "--target",
        "counter:B",
        "--regions",
        "frames",
        "--frames",
        2,
        "--out",
        tmp_path / "evidence",
    )
    assert prune_command("explain", own, *how, *few)[0] == 0
    header = _header(tmp_path / "evidence")
    assert (header["prompt"], header["cue"], len(header["samples"])) == (OWN, CUE, 1)
    code, _, err = prune_command("explain", own, *how, *few, "--prompt", "{question} {options}")
    assert code == 4 and "prompt" in err
    far = ("--endpoint", "http://localhost:1/v1/chat/completions", "--system", "Be brief.")
    code, _, err = prune_command("explain", own, *how, *few, *far)
    assert code == 2 and "--system" in err


def test_screen_and_audit_and_bench_name_the_words(
    prune_command: Run, own: Path, clips: Path, tmp_path: Path
) -> None:
    data = ("--data", clips / "test.jsonl", "--tasks", "object_count")
    few = ("--set", "options", "--top", 1, "--samples", "all", "--prompt", OWN)
    assert (
        prune_command("screen", "tiny", *data, "--limit", 1, *few, "--out", tmp_path / "s")[0] == 0
    )
    assert json.loads((tmp_path / "s" / "screen.json").read_text())["prompt"] == OWN
    audit = ("--count", 2, "--limit", 1, "--frames", 2, "--per-task", 2, "--out", tmp_path / "a")
    # In words that it does not know, tiny may reply nothing that has evidence.
    words = ("--prompt", USUAL, "--cue", ANSWER_CUE)
    assert prune_command("audit", "tiny", own, *data, *audit, *words)[0] in (0, 8)
    found = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert found["asked"] == {"prompt": USUAL} and len(found["samples"]) == 1
    assert "Question: {question}" in (tmp_path / "a" / "audit.html").read_text()
    runs = ("--frames", 2, "--batches", 1, "--runs", 2, "--json")
    code, text, _ = prune_command("bench", own, *data[:2], *runs)
    assert code == 0 and json.loads(text)["conditions"]["prompt"] == OWN


def test_patch_records_what_it_asked(prune_command: Run, clips: Path, tmp_path: Path) -> None:
    few = ("--limit", 1, "--tasks", "object_count", "--site", "states", "--samples", "all")
    data = ("--data", clips / "test.jsonl", "--frames", 2, "--out", tmp_path)
    assert prune_command("patch", "tiny", *data, *few, "--prompt", OWN)[0] == 0
    assert _prompts(tmp_path) == {OWN}


def _prompts(folder: Path) -> set[str]:
    return {json.loads(path.read_text())["prompt"] for path in folder.rglob("header.json")}


def test_heal_learns_in_the_words_it_is_given(
    prune_command: Run, own: Path, clips: Path, tmp_path: Path
) -> None:
    data = ("--data", clips / "calibration.jsonl", "--test", clips / "test.jsonl")
    few = ("--tasks", "object_count", "--per-task", 2, "--frames", 2, "--steps", 1)
    plan = ("--plan", own / PLAN_FILE, "--prompt", OWN, "--out", tmp_path / "healed")
    assert prune_command("heal", "tiny", *data, *few, *plan)[0] == 0
    made = json.loads((tmp_path / "healed" / HEALED_FILE).read_text())["made_from"]
    assert made["prompt"] == OWN and len(made["samples"]) == len(made["test_samples"]) == 2
