"""`--dtype` and `--device`: used, recorded, and refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prune.trace.trace import Trace
from prune.workflows.evaluate import evaluate_model
from prune.workflows.plan import open_traced

Run = Callable[..., tuple[int, str, str]]


def test_a_trace_and_its_export_are_in_bfloat16(
    prune_command: Run, clips: Path, tmp_path: Path
) -> None:
    half = ("--dtype", "bfloat16", "--device", "cpu")
    data = ("--data", clips / "calibration.jsonl", "--limit", 2, "--samples", "all")
    few = ("--pathway", "video->last", "--frames", 2, "--out", tmp_path / "run")
    assert prune_command("trace", "tiny", *data, *few, *half)[0] == 0
    header = json.loads((tmp_path / "run" / "trace" / "header.json").read_text())
    assert (header["dtype"], header["device"]) == ("bfloat16", "cpu")
    code, _, err = prune_command("trace", "tiny", *data, *few)
    assert code == 4 and "dtype" in err
    keep = ("--keep", "video->last=none", "--test", clips / "test.jsonl", "--limit", 4)
    out = ("--frames", 2, "--out", tmp_path / "pruned")
    assert prune_command("export", "tiny", *keep, *out, *half)[0] == 0
    report = json.loads((tmp_path / "pruned" / "prune_report.json").read_text())
    assert report["conditions"]["dtype"] == "bfloat16"
    bench = ("--frames", 2, "--batches", 1, "--runs", 2, "--json")
    asked = ("--data", clips / "test.jsonl")
    code, text, _ = prune_command("bench", tmp_path / "pruned", *asked, *bench[2:])
    found = json.loads(text)
    assert code == 0 and found["conditions"]["dtype"] == "bfloat16"
    assert [row["shape"]["frames"] for row in found["rows"]] == [2]


def test_eval_answers_in_the_precision_it_is_given(prune_command: Run, clips: Path) -> None:
    data = clips / "test.jsonl"
    whole, half, same = (
        [a.p_options for a in evaluate_model("tiny", data, limit=4, num_frames=2, dtype=d).answers]
        for d in ("auto", "bfloat16", "float32")
    )
    assert whole == same and whole != half
    assert [max(p) for p in half] == pytest.approx([max(p) for p in whole], abs=0.1)
    asked = ("eval", "tiny", "--data", data, "--limit", 4, "--frames", 2)
    assert prune_command(*asked, "--dtype", "bfloat16", "--device", "cpu")[0] == 0
    code, _, err = prune_command("eval", "tiny", "--tasks", "tiny", "--dtype", "float16")
    assert code == 2 and "--dtype" in err
    assert prune_command(*asked, "--dtype", "int8")[0] == 2


def test_every_command_that_runs_a_model_takes_both(
    prune_command: Run, clips: Path, tmp_path: Path
) -> None:
    half = ("--dtype", "bfloat16", "--device", "cpu")
    data = ("--data", clips / "calibration.jsonl", "--limit", 1, "--frames", 2)
    all_of_them = (*data, "--samples", "all")
    commands = {
        "screen": (*all_of_them, "--set", "options", "--top", 1),
        "patch": (*all_of_them, "--site", "states", "--role", "last"),
        "lens": all_of_them,
        "explain": (*data, "--regions", "frames"),
    }
    for name, how in commands.items():
        out = tmp_path / name
        assert prune_command(name, "tiny", *how, *half, "--out", out)[0] == 0, name
        headers = [json.loads(path.read_text()) for path in out.rglob("header.json")]
        found = {(header["dtype"], header["device"]) for header in headers}
        assert found == {("bfloat16", "cpu")}, name


def test_a_plan_is_searched_in_the_precision_of_its_trace(
    prune_command: Run, clips: Path, tmp_path: Path
) -> None:
    data = ("--data", clips / "calibration.jsonl", "--limit", 4, "--samples", "all")
    few = ("--pathway", "video->last", "--frames", 2, "--out", tmp_path / "run")
    assert prune_command("trace", "tiny", *data, *few, "--dtype", "bfloat16")[0] == 0
    trace = Trace.load(tmp_path / "run")
    assert open_traced(trace, None, None, None).model.dtype is torch.bfloat16
    assert open_traced(trace, "tiny", "cpu", "auto").model.dtype is torch.float32


def test_a_recipe_takes_them_only_for_a_timed_pass(prune_command: Run) -> None:
    code, _, err = prune_command("recipe", "--dtype", "float32")
    assert code == 2 and "give --time as well" in err


@pytest.mark.parametrize("device", ["cuda:99", "nope", "auto:1", "cpu:x"])
def test_a_device_that_is_not_there(prune_command: Run, clips: Path, device: str) -> None:
    code, _, err = prune_command("eval", "tiny", "--data", clips / "test.jsonl", "--device", device)
    assert code == 3 and err.count("\n") == 1 and f"device {device!r}: not there" in err
