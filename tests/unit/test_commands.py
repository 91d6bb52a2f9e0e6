"""Commands parse, call one workflow and print; the first process alone shows progress."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.cli.app import app
from prune.cli.main import COMMANDS
from prune.cli.progress import progress
from prune.journal.progress import silent

FOLDER = Path(__file__).parents[2] / "prune" / "cli" / "commands"
OPTIONS = "prune.workflows.options"


def _workflows(tree: ast.AST) -> list[str]:
    """The functions that a module imports from workflows."""
    return [
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prune.workflows")
        for name in node.names
        if node.module != OPTIONS
    ]


def test_every_file_is_one_command() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == set(COMMANDS) and len(COMMANDS) == len(files)
    registered = [command.callback.__name__ for command in app.registered_commands]  # type: ignore
    assert registered == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_calls_one_workflow(command: str) -> None:
    called = _workflows(ast.parse((FOLDER / f"{command}.py").read_text()))
    # `prune eval` takes a data set or tasks of lm-eval, `prune inspect` a plan or a prompt,
    # `prune bench` a model or a server, and `prune recipe` counts, or times as well.
    assert len(called) == (2 if command in ("bench", "evaluate", "inspect", "recipe") else 1)


def test_workflows_run_without_progress() -> None:
    with silent("Tracing", 3) as advance:
        advance(1)
        advance(0, "region 2 of 9")


@pytest.mark.parametrize(("rank", "shown"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_alone_shows_progress(
    rank: str | None, shown: bool, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with progress("Explaining", 2) as advance:
        advance(1, "region 2 of 9")
        advance(1)
    said = capfd.readouterr().err
    assert ("Explaining" in said and "2/2" in said) is shown


def test_options_are_checked_before_the_model_is_opened(
    prune_command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    data = ("--data", tmp_path / "none.jsonl", "--out", tmp_path / "run")
    for command in ("trace", "screen"):
        code, _, err = prune_command(command, "no-model", *data, "--set", "nothing")
        assert code == 2 and "'--set': Value error, 'nothing' is not one of 'all'" in err
