"""trace -> export -> load -> generate on models with real processors, on MP4 clips."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import prune
from tests.real.models import model_of


@pytest.fixture(scope="module")
def questions(clips: Path) -> dict[str, Path]:
    """A few questions of each split, beside their clips."""
    found = {}
    for split in ("calibration", "test"):
        lines = (clips / f"{split}.jsonl").read_text().splitlines()[::6]
        found[split] = clips / f"real-{split}.jsonl"
        found[split].write_text("\n".join(lines) + "\n")
    return found


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "llava_onevision", "internvl"])
def test_a_model_is_traced_pruned_exported_and_asked(
    name: str, questions: dict[str, Path], tmp_path: Path, prune_command: Any
) -> None:
    model, processor = model_of(name)
    dense, run, out = tmp_path / "dense", tmp_path / "run", tmp_path / "pruned"
    model.save_pretrained(dense)
    processor.save_pretrained(dense)

    code, _, error = prune_command(
        "trace", dense, "--data", questions["calibration"], "--out", run, "--frames", 4,
        "--samples", "all", "--set", "sealed",
    )  # fmt: skip
    assert code == 0, error
    code, _, error = prune_command(
        "export", dense, "--trace", run, "--test", questions["test"], "--out", out,
        "--density", 0.7,
    )  # fmt: skip
    assert code == 0, error
    report = json.loads((out / "prune_report.json").read_text())
    assert report["launched"]["computed"] <= report["launched"]["states"]

    pruned, its_processor = prune.load(out)
    line = json.loads(questions["test"].read_text().splitlines()[0])
    frames = prune.load_video(questions["test"].parent / line["video"], 4)
    inputs = prune.ask(its_processor, frames, line["question"], line["options"])
    with torch.no_grad():
        reply = pruned.generate(**inputs, max_new_tokens=3, do_sample=False)
        plan = prune.Plan.load(out / "prune_plan.json")
        with prune.apply(model, plan, processor=processor, skip="none"):
            masked = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert torch.equal(reply, masked)
    assert prune.launches(pruned).total > 0 and prune.launches(pruned).dense_prompts == 0
