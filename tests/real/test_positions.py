"""`--positions vllm` from a trace to its export: recorded, kept, and refused where they differ."""

import json
from pathlib import Path
from typing import Any

import torch

import prune
from prune.runtime.positions import place
from tests.real.models import model_of


def test_positions_stay_what_the_trace_was_made_at(
    clips: Path, tmp_path: Path, prune_command: Any
) -> None:
    model, processor = model_of("qwen2_5_vl")
    dense, run, out = tmp_path / "dense", tmp_path / "run", tmp_path / "pruned"
    model.save_pretrained(dense)
    processor.save_pretrained(dense)
    data = {}
    for split in ("calibration", "test"):
        lines = (clips / f"{split}.jsonl").read_text().splitlines()[::6]
        data[split] = clips / f"positions-{split}.jsonl"
        data[split].write_text("\n".join(lines) + "\n")
    asked = ("--data", data["calibration"], "--frames", 8, "--samples", "all")
    trace = ("trace", dense, *asked, "--out", run, "--set", "cross-frame")

    code, _, error = prune_command(*trace, "--positions", "vllm")
    assert code == 0, error
    assert json.loads((run / "trace" / "header.json").read_text())["model"]["positions"] == "vllm"
    code, _, error = prune_command(*trace)
    assert code == 4 and "model.positions differ" in error

    export = ("export", dense, "--trace", run, "--test", data["test"], "--out", out)
    code, _, error = prune_command(*export, "--density", 0.7, "--positions", "transformers")
    assert code == 4 and "model.positions differ" in error and not out.exists()
    code, _, error = prune_command(*export, "--density", 0.7)
    assert code == 0, error
    plan = prune.Plan.load(out / "prune_plan.json")
    assert plan.model.positions == "vllm"
    assert json.loads((out / "prune_report.json").read_text())["model"]["positions"] == "vllm"

    line = json.loads(data["test"].read_text().splitlines()[0])
    frames = prune.load_video(data["test"].parent / line["video"], 8)
    inputs = prune.ask(processor, frames, line["question"], line["options"])
    place(model, "vllm")
    with torch.no_grad(), prune.apply(model, plan, processor=processor, skip="none"):
        expected = model(**inputs).logits[:, -1]
    pruned, _ = prune.load(out)
    with torch.no_grad():
        torch.testing.assert_close(pruned(**inputs).logits[:, -1], expected, atol=1e-4, rtol=1e-4)
    del model.model.get_rope_index

    answers = {}
    for name, folder, more in (
        ("as measured", out, ()),
        ("against the dense model", out, ("--against", dense)),
        ("elsewhere", out, ("--positions", "transformers")),
    ):
        code, text, error = prune_command(
            "eval", folder, "--data", data["test"], "--frames", 8, *more
        )
        assert code == 0, (name, error)
        answers[name] = text
    assert len(set(answers.values())) > 1
