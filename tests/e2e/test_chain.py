"""From a dense folder and a JSONL to a checked export, as the README writes it, in two families."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prune.checkpoint.load import EMBEDDED
from prune.cli.app import app

TASKS = ("moving_direction", "object_existence")


@pytest.fixture(scope="module")
def questions(clips: Path) -> dict[str, Path]:
    """Few questions of both splits, each a JSONL beside the clips."""
    found = {}
    for split in ("calibration", "test"):
        lines = (clips / f"{split}.jsonl").read_text().splitlines()
        few = [line for line in lines if json.loads(line)["task"] in TASKS]
        found[split] = clips / f"few-{split}.jsonl"
        found[split].write_text("\n".join(few) + "\n")
    return found


@pytest.mark.parametrize("name", ["tiny", "tiny-ov"])
def test_the_commands_of_the_readme_in_their_order(
    name: str, questions: dict[str, Path], tmp_path: Path
) -> None:
    dense, run, out = tmp_path / "dense", tmp_path / "run", tmp_path / "pruned"
    shutil.copytree(EMBEDDED[name], dense)
    calibration, test = questions["calibration"], questions["test"]

    def prune(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, f"prune {words}: {done.exception!r}"
        return done.stdout

    prune("trace", dense, "--data", calibration, "--set", "paper", "--limit", 4, "--out", run)
    budget = ["--density", 0.7, "--objective", "edges"]
    prune("export", dense, "--trace", run, "--test", test, *budget, "--out", out)
    assert "moving" in prune("eval", out, "--data", test, "--against", dense)
    assert "prefill" in prune("bench", out, "--data", test, "--runs", 2, "--batches", 1)
    # Drawn again from its JSON, it is the page that the manifest knows.
    (out / "report.html").unlink()
    prune("report", out)
    assert "video" in prune("inspect", out)
    assert "files" in prune("verify", out)
    result = json.loads((out / "prune_report.json").read_text())
    assert 0 < result["kept_edges"] <= 0.7 * result["causal_edges"]
    assert json.loads((out / "prune_plan.json").read_text())["model"]["name"] == str(dense)
    assert (out / "model.safetensors").read_bytes() == (dense / "model.safetensors").read_bytes()
