"""Files that are written whole or not at all, and what a kill leaves of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune.io.files import staged, write_atomically

KILLED = """
import os, sys
from pathlib import Path
from prune.io.files import staged, write_atomically
def killed(*paths):
    os.kill(os.getpid(), 9)
os.replace = os.rename = killed
target = Path(sys.argv[2])
if sys.argv[1] == "file":
    write_atomically(target, "new")
with staged(target) as stage:
    (stage / "a").write_text("new")
"""


def left_by_a_kill(kind: str, target: Path) -> list[str]:
    """What stands beside `target` after a process was killed as it put it in place."""
    done = subprocess.run([sys.executable, "-c", KILLED, kind, str(target)])
    assert done.returncode == -signal.SIGKILL
    return [path.name for path in target.parent.iterdir() if path != target]


@pytest.mark.parametrize("name", ["flow.csv", "flow[1].csv"])
def test_what_a_killed_writer_left_of_a_file_is_cleared(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("old")
    assert len(left_by_a_kill("file", target)) == 1 and target.read_text() == "old"
    write_atomically(target, "newest")
    assert list(tmp_path.iterdir()) == [target] and target.read_text() == "newest"


def test_what_a_killed_writer_left_of_a_folder_is_cleared(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert len(left_by_a_kill("folder", target)) == 1 and not target.exists()
    with staged(target) as stage:
        (stage / "b").touch()
    assert list(tmp_path.rglob("*")) == [target, target / "b"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    others = tmp_path / f".flow.csv.{os.getppid()}.tmp"
    others.touch()
    write_atomically(tmp_path / "flow.csv", "new")
    assert others.exists()
