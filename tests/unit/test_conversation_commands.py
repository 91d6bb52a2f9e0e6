"""Questions behind earlier turns, in the commands that ask a model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.inputs.samples import load_samples
from prune.trace.trace import Trace

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["test-chats.jsonl", "test-chats-open.jsonl"])
def chats(request: pytest.FixtureRequest, prune_command: Command, tmp_path: Path) -> Path:
    code, _, err = prune_command("clips", "--chats", "--open", "--per-task", 1, "--out", tmp_path)
    assert code == 0, err
    return tmp_path / str(request.param)


def test_conversations_are_answered(prune_command: Command, chats: Path) -> None:
    code, printed, err = prune_command("eval", "tiny", "--data", chats, "--json")
    assert code == 0, err
    found = json.loads(printed)
    rows = found["accuracy"][-1:] or found["replies"]["free"]
    assert rows[0]["n"] == len(load_samples(chats)) == 6 and found["failed"] == {}


def test_conversations_are_traced(prune_command: Command, chats: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, printed, err = prune_command(
        "trace", "tiny", "--data", chats, "--limit", 1, "--samples", "all", "--out", run
    )
    assert code == 0, err
    assert "1 of 1 samples traced" in printed and Trace.load(run).records


def test_conversations_are_explained(prune_command: Command, chats: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, _, err = prune_command(
        "explain", "tiny", "--data", chats, "--limit", 1, "--regions", "frames", "--text",
        "--out", run,
    )  # fmt: skip
    assert code == 0, err
    (record,) = (json.loads(p.read_text()) for p in run.glob("*.json") if p.name != "summary.json")
    sample = next(s for s in load_samples(chats) if s.id == record["id"])
    assert record["turns"] == [list(turn) for turn in sample.turns]
    assert "history" in record["sources"]["shares"]
    assert len(list(run.glob("*.png"))) == 1
