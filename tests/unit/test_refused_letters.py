"""A letter that cannot be scored stops a command before it writes anything."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.checkpoint.load import TINY, open_model
from prune.errors import RefusedError
from prune.layout.reach import dense_reach
from prune.plan.plan import Plan

CUE = "Best option: "
"""In this vocabulary a space and an A are one token, so A after it is no token of its own."""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` with " A" in place of its last token, and a space before replies."""
    folder = tmp_path_factory.mktemp("model") / "joins"
    shutil.copytree(TINY, folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    last = "".join(merges.pop())
    vocabulary["\u0120A"] = vocabulary.pop(last)
    merges.insert(0, ["\u0120", "A"])
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    template.write_text(
        text.replace(" ASSISTANT:{% endif", " ASSISTANT: {% endif"), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def plan(model: Path) -> Path:
    identity = open_model(model, dense=True).id
    Plan(dense_reach(identity.num_layers), identity, "all").save(model.parent / "plan.json")
    return model.parent / "plan.json"


COMMANDS = {
    "trace": ["trace", "MODEL", "--data", "DATA", "--out", "OUT"],
    "prefix": ["trace", "MODEL", "--data", "DATA", "--out", "OUT", "--prefix", "A"],
    "screen": ["screen", "MODEL", "--data", "DATA", "--out", "OUT"],
    "lens": ["lens", "MODEL", "--data", "DATA", "--out", "OUT"],
    "explain": ["explain", "MODEL", "--data", "DATA", "--out", "OUT"],
    "audit": ["audit", "MODEL", "PLAN", "--data", "DATA", "--out", "OUT"],
    "heal": ["heal", "MODEL", "--plan", "PLAN", "--data", "DATA", "--test", "TEST", "--out", "OUT"],
    "heal a front": [
        "heal", "MODEL", "--plan", "PLAN", "--plan", "PLAN2", "--data", "DATA", "--test", "TEST",
        "--out", "OUT",
    ],
    "eval": ["eval", "MODEL", "--data", "DATA"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_written(
    command: str, model: Path, plan: Path, clips: Path, tmp_path: Path, prune_command: Command
) -> None:
    shutil.copy(plan, tmp_path / "plan2.json")
    words = {
        "MODEL": model, "DATA": clips / "calibration.jsonl", "TEST": clips / "test.jsonl",
        "PLAN": plan, "PLAN2": tmp_path / "plan2.json", "OUT": tmp_path / "deep" / "out",
    }  # fmt: skip
    asked = [words.get(word, word) for word in COMMANDS[command]]
    cue = [] if command == "prefix" else ["--cue", CUE]
    code, _, error = prune_command(*asked, *cue)
    assert code == RefusedError.exit_code, error
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and "joins the token before it" in last and "--cue" in last
    assert not (tmp_path / "deep").exists()


def test_the_next_cue_takes_the_same_folder(
    model: Path, clips: Path, tmp_path: Path, prune_command: Command
) -> None:
    run = tmp_path / "run"
    data = ("--data", clips / "calibration.jsonl", "--out", run, "--limit", 2, "--samples", "all")
    data = (*data, "--pathway", "video->last")
    assert prune_command("trace", model, *data, "--cue", CUE)[0] == RefusedError.exit_code
    assert prune_command("trace", model, *data)[0] == 0

    header = run / "trace" / "header.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"cue": CUE}))
    before = sorted(path.name for path in run.iterdir())
    for command in (
        ("plan", run),
        ("export", model, "--trace", run, "--out", tmp_path / "out"),
        ("transfer", run),
    ):
        code, _, error = prune_command(*command)
        assert code == RefusedError.exit_code and "joins the token before it" in error
    assert sorted(path.name for path in run.iterdir()) == before
    assert not (tmp_path / "out").exists()
