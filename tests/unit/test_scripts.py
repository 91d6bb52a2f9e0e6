"""What scripts rely on: `--json`, thresholds, `--quiet`, and progress without a terminal."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prune.cli.console import out, shown
from prune.cli.progress import _lines, progress
from prune.cli.thresholds import FailOn, check_drop, check_verdict
from prune.errors import ThresholdError
from prune.results.interval import Interval

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    yield
    out.quiet = shown.quiet = shown.verbose = False


def _object(text: str) -> dict[str, object]:
    (line,) = text.splitlines()
    found: dict[str, object] = json.loads(line)
    assert found["schema_version"] == 1
    return found


def test_json_of_verify_and_inspect(prune_command: Run, exported: Path) -> None:
    code, text, _ = prune_command("verify", exported, "--json")
    files = len(json.loads((exported / "manifest.json").read_text())["files"])
    assert code == 0 and _object(text)["files"] == files
    code, text, _ = prune_command("inspect", "llava-next-7b", "--json")
    found = _object(text)
    assert code == 0 and found["layers"] == 32 and found["dead"]["video"] == list(range(21, 33))  # type: ignore[index]
    (exported / "more.txt").write_text("x")
    code, text, err = prune_command("verify", exported, "--json")
    (exported / "more.txt").unlink()
    assert code == 8 and not text and "more.txt is unknown" in err


def test_json_of_eval_is_its_table(prune_command: Run, exported: Path, clips: Path) -> None:
    asked = ("--data", clips / "test.jsonl", "--tasks", "object_count")
    compared = (*asked, "--against", "tiny")
    code, text, _ = prune_command("eval", exported, *compared, "--json")
    found = _object(text)
    *_, overall = found["accuracy"]  # type: ignore[misc]
    assert code == 0 and overall["task"] == "all" and found["failed"] == {}
    lost = overall["dense"]["value"] - overall["pruned"]["value"]
    code, table, err = prune_command("eval", exported, *compared, "--max-drop", "0")
    assert f"{overall['difference']['value']:+.1f} [" in table
    assert code == (10 if lost > 0 else 0) and ("--max-drop 0" in err) == (lost > 0)
    code, text, _ = prune_command("--quiet", "eval", "tiny", *asked, "--json")
    assert code == 0 and _object(text)["accuracy"][0]["accuracy"] == overall["dense"]  # type: ignore[index]


def test_options_that_need_others(prune_command: Run, clips: Path) -> None:
    assert prune_command("eval", "tiny", "--tasks", "tiny", "--json")[0] == 2
    assert prune_command("eval", "tiny", "--data", clips / "test.jsonl", "--max-drop", "1")[0] == 2
    assert prune_command("--quiet", "--verbose", "env")[0] == 2


@pytest.mark.parametrize(("value", "passes"), [(-0.4, True), (0.2, True), (-1.2, False)])
def test_a_drop_over_the_limit_is_code_10(value: float, passes: bool) -> None:
    difference = Interval(value, value - 0.5, value + 0.5)
    if passes:
        check_drop(difference, 1.0)
    else:
        with pytest.raises(ThresholdError, match=r"1.2 points \[0.7, 1.7\] \(the interval"):
            check_drop(difference, 1.0)


def test_which_verdicts_fail() -> None:
    failing = [
        (tone, limit) for tone in ("good", "open", "bad") for limit in FailOn if _fails(tone, limit)
    ]
    assert failing == [("open", FailOn.perhaps), ("bad", FailOn.no), ("bad", FailOn.perhaps)]


def _fails(tone: str, limit: FailOn) -> bool:
    try:
        check_verdict(tone, "Perhaps", limit)
    except ThresholdError:
        return True
    return False


def test_flags_of_every_command_may_stand_behind_it(prune_command: Run) -> None:
    code, text, err = prune_command("env", "--quiet")
    assert (code, text, err) == (0, "", "")
    code, text, _ = prune_command("env")
    assert code == 0 and "torch" in text


def test_lines_come_every_twentieth_with_the_time_left(capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with _lines("Tracing", 200, lambda: now) as advance:
        for _ in range(200):
            now += 1.0
            advance(1)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 20 and lines[4] == "Tracing 50/200 (25%), 0:02:30 left"
    assert lines[-1] == "Tracing 200/200 (100%), 0:00:00 left"


def test_a_line_comes_after_30_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with _lines("Tracing", 1000, lambda: now) as advance:
        for _ in range(4):
            now += 20.0
            advance(1)
    assert len(capfd.readouterr().err.splitlines()) == 2


def test_what_ends_early_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("Searching", 1000) as advance:
        advance(80, "budget met")
    assert "Searching done after 80 of at most 1,000: budget met" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt), progress("Searching", 1000) as advance:
        advance(80)
        raise KeyboardInterrupt
    assert "Searching stopped after 80 of 1,000" in capfd.readouterr().err


def test_verbose_times_stages(capfd: pytest.CaptureFixture[str]) -> None:
    shown.verbose = True
    with progress("Looking", 1) as advance:
        advance(1)
    assert re.search(r"Looking took \d+\.\d s", capfd.readouterr().err)
    shown.verbose, shown.quiet = False, True
    with progress("Looking", 1) as advance:
        advance(1)
    assert not capfd.readouterr().err
