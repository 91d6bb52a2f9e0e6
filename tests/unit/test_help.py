"""What `--help` shows of every command: panels, units, an example that parses, and its page."""

import inspect
import re
import shlex
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer

from prune import errors
from prune.cli.app import app
from prune.cli.loading import Precision
from prune.cli.main import COMMANDS
from prune.evidence.case import REMOVALS
from prune.evidence.explain import COARSE
from prune.evidence.regions import PARTITIONS
from prune.evidence.search import SEARCHES
from prune.inputs.decoding.sampling import POLICIES
from prune.plan.presets import PRESETS
from prune.trace.metrics import METRICS
from prune.trace.sets import SETS
from prune.workflows import options

ROOT = Path(__file__).parents[2]
GROUP: Any = typer.main.get_command(app)
NAMES = sorted(GROUP.commands)
PYTHON = "bool|list|int|float|str|path|file|dir"
"""What typer calls the types of values."""


@pytest.fixture(params=NAMES)
def shown(request: pytest.FixtureRequest, prune_command: Any, monkeypatch: Any) -> tuple[str, str]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    code, out, _ = prune_command(request.param, "--help")
    assert code == 0
    return request.param, out


def test_choices_of_the_command_line_are_all_that_there_are() -> None:
    same: dict[type[StrEnum], Iterable[str]] = {
        options.Partition: PARTITIONS, options.Regions: [*PARTITIONS, COARSE],
        options.Removal: REMOVALS, options.Order: SEARCHES, options.Sampling: POLICIES,
        options.FlowMetric: [*METRICS, "interaction"], options.PathwaySet: SETS,
        options.Preset: PRESETS,
    }  # fmt: skip
    for choices, known in same.items():
        assert set(choices) == set(known), choices.__name__


@pytest.mark.parametrize(
    ("command", "option", "choices"),
    [
        ("explain", "--search", options.Order),
        ("explain", "--regions", options.Regions),
        ("explain", "--removal", options.Removal),
        ("audit", "--regions", options.Partition),
        ("flow", "--metric", options.FlowMetric),
        ("trace", "--set", options.PathwaySet),
        ("eval", "--sampling", options.Sampling),
        ("export", "--preset", options.Preset),
        ("lens", "--dtype", Precision),
    ],
)
def test_help_names_the_choices_and_others_are_refused(
    prune_command: Any, command: str, option: str, choices: type[StrEnum]
) -> None:
    _, text, _ = prune_command(command, "--help")
    shown = re.findall(r"[\w-]+", text)
    assert set(choices) <= set(shown)
    code, _, err = prune_command(command, option, "nope")
    assert code == 2 and "'nope' is not one of" in err


def test_there_is_a_name_for_every_module() -> None:
    assert len(NAMES) == len(COMMANDS)


def test_help_fits_80_columns_and_names_no_python_type(shown: tuple[str, str]) -> None:
    name, text = shown
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert not re.search(rf"[<\[|]({PYTHON})\b", text), name
    assert "(default" not in text


def test_the_example_parses_and_the_page_exists(shown: tuple[str, str]) -> None:
    name, _ = shown
    command = GROUP.commands[name]
    example = re.search(r"\[bold\](.*)\[/bold\]", command.epilog)
    assert example
    prune, called, *words = shlex.split(example[1])
    assert (prune, called) == ("prune", name)
    command.make_context(name, words)
    page = re.search(r"docs/(\S+)", command.epilog)
    assert page and (ROOT / "docs" / page[1]).is_file()


def test_an_option_that_several_commands_have_is_in_one_panel() -> None:
    panels: dict[str, set[str]] = {}
    for command in GROUP.commands.values():
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                panels.setdefault(option.opts[0], set()).add(option.rich_help_panel)
    assert {n: p for n, p in panels.items() if len(p) > 1} == {}


def test_every_exit_code_is_in_the_help(prune_command: Any) -> None:
    _, text, _ = prune_command("--help")
    codes = {
        kind.exit_code
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.PruneError) and kind is not errors.PruneError
    }
    assert codes | {0, 130, 143} == {
        int(n) for n in re.findall(r"\b(\d+)\s+[a-zN]", text[text.index("Exit codes") :])
    }


def test_prune_alone_shows_the_help(prune_command: Any) -> None:
    code, text, err = prune_command()
    assert (code, err) == (0, "") and prune_command("--help")[1].split() == text.split()
    assert "Commands" in text and not re.search(rf"<({PYTHON})", text)


def test_completion_can_be_installed(prune_command: Any) -> None:
    _, text, _ = prune_command("--help")
    assert "--install-completion" in text
