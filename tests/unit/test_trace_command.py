"""`prune trace` as typed: what it writes and what it refuses."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from prune.cli.main import app
from prune.errors import RefusedError, UsageError
from prune.trace.trace import Trace


def trace(clips: Path, run: Path, *arguments: str) -> Result:
    data = str(clips / "calibration.jsonl")
    command = ["trace", "tiny", "--data", data, "--limit", "2", "--out", str(run), *arguments]
    return CliRunner().invoke(app, command)


def test_a_set_writes_figures_tables_and_its_leaks(
    clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = trace(clips, tmp_path, "--set", "paper", "--samples", "all", "--style", "bottom-up")
    assert done.exit_code == 0, done.exception
    assert {p.name for p in tmp_path.iterdir()} == {
        "trace", "flow.png", "flow.svg", "flow.csv", "flow.json"
    }  # fmt: skip
    printed = done.output + capfd.readouterr().out
    assert "12 paths around these pathways, such as video → bridge → last" in printed
    assert Trace.load(tmp_path).windows()[2] == [0, 1, 2]
    again = trace(clips, tmp_path, "--set", "paper", "--samples", "all")
    assert isinstance(again.exception, RefusedError) and "style differ" in str(again.exception)


def test_the_first_half_is_a_table(
    clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--set", "cross-frame", "--style", "first-half", "--samples", "all")
    done = trace(clips, tmp_path, *arguments)
    assert done.exit_code == 0, done.exception
    printed = " ".join((done.output + capfd.readouterr().out).split())
    assert "change of accuracy over the options (points); cut: first half of the layers" in printed
    assert "action antonym" in printed


def test_open_questions_trace_the_open_ended_set(clips: Path, tmp_path: Path) -> None:
    done = trace(clips, tmp_path, "--anchor", r"\w+")
    assert done.exit_code == 0, done.exception
    header = Trace.load(tmp_path).header
    assert "response->last" in header["pathways"] and header["which"] == "all"
    assert header["asking"]["anchor"] == r"\w+"


def test_options_that_do_not_fit_are_refused(clips: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--anchor", "x", "--samples", "wrong"), "neither right nor wrong"),
        (("--anchor", "x", "--prefix", "It"), "give one of them"),
        (("--set", "cross-frame", "--pairs"), "at least two"),
    ):
        refused = trace(clips, tmp_path / "none", *arguments)
        assert isinstance(refused.exception, UsageError) and message in str(refused.exception)
    assert not (tmp_path / "none").exists()
