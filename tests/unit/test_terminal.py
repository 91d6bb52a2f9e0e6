"""What the terminal shows: one line for every end, and nothing that it would obey."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.cli.console import err, inert, out
from prune.io.files import safe_name

Run = Callable[..., tuple[int, str, str]]
PRUNE = Path(sys.executable).parent / "prune"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_in_how_to_resume(
    clips: Path, tmp_path: Path, number: int, code: int
) -> None:
    command = [PRUNE, "trace", "tiny", "--data", clips / "calibration.jsonl", "--out", tmp_path]
    # A shell that starts a job in the background lets it ignore Ctrl-C.
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        **default,
    )  # fmt: skip
    journal = tmp_path / "trace" / "journal.jsonl"
    while running.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.02)
    running.send_signal(number)
    _, shown = running.communicate(timeout=30)
    assert running.returncode == code
    last = shown.splitlines()[-1]
    assert last.startswith("error: interrupted; finished work is kept, run the same command again")
    assert last.endswith(f"--out {tmp_path}") and "Traceback" not in shown
    assert not (tmp_path / "trace" / ".lock").exists()


def test_a_defect_is_one_line_and_code_70(
    prune_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise KeyError("never\nforeseen")

    monkeypatch.setattr("prune.workflows.verify.verify", broken)
    code, _, shown = prune_command("verify", "some-folder")
    assert code == 70 and shown.count("\n") == 1 and "Traceback" not in shown
    assert shown.startswith("error: ") and "KeyError: 'never" in shown
    assert "'prune --debug verify some-folder'" in shown


NASTY = "\x1b]0;pwned\x07\x1b[31mred[/b][bold]:smile:\u202e"


def test_names_are_shown_literally(capfd: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table(title=NASTY)
    table.add_column(NASTY)
    table.add_row(NASTY)
    for console in (out, err):
        console.print(NASTY, soft_wrap=True)
        console.print(table, soft_wrap=True)
    shown = "".join(capfd.readouterr())
    assert not set(shown) & set("\x1b\x07\u202e")
    assert shown.count("[31mred[/b][bold]:smile:") == 8


def test_a_data_set_cannot_reach_the_terminal(
    prune_command: Run, tmp_path: Path, clips: Path
) -> None:
    lines = [json.loads(line) for line in (clips / "test.jsonl").read_text().splitlines()[:2]]
    lines[0].update(id=f"{NASTY} missing", video=f"{NASTY}.mp4", task=NASTY)
    path = clips / "nasty.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, shown, said = prune_command("eval", "tiny", "--data", path)
    assert code == 5 and "red[/b]" in said
    assert not set(shown + said) & set("\x1b\x07\u202e")


def test_inert() -> None:
    assert inert("a\x1b\n\u202e\u65e5 \x7f") == "a\\x1b\\n\\u202e\u65e5 \\x7f"


def test_names_of_files_tell_ids_apart() -> None:
    ids = ["a/b", "a b", "a-b", "../../a-b", "A" * 256, "A" * 255, "\u65e5", "\u6708", ".", "x\0"]
    names = [safe_name(i) for i in ids]
    assert len(set(names)) == len(ids) and safe_name("a-b") == "a-b"
    assert all(len(name) < 140 and "/" not in name and name.isascii() for name in names)
    assert safe_name("summary", ["summary"]) != "summary"
