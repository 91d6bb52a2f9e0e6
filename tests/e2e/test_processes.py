"""A trace split over processes is the trace of one process, and outlives a killed one.

Processes part before they end: one that ends inside of its group takes the others down with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
SAMPLES = "10"
# Sums round differently on another number of threads; torchrun gives each process one.
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(clips: Path, run: Path, processes: int) -> list[str | Path]:
    torchrun = [BIN / "torchrun", "--standalone", "--nproc-per-node", str(processes)]
    trace = [BIN / "prune", "trace", "tiny", "--data", clips / "calibration.jsonl"]
    return [*(torchrun if processes > 1 else []), *trace, "--limit", SAMPLES, "--out", run]


def files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "trace").iterdir()}


@pytest.fixture(scope="module")
def alone(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes beside the clips."""
    run = clips / "alone"
    subprocess.run(command(clips, run, 1), check=True, capture_output=True, env=ENV)
    return files(run)


def test_two_processes_write_the_same_bytes(clips: Path, alone: dict[str, bytes]) -> None:
    run = clips / "two"
    done = subprocess.run(
        command(clips, run, 2), check=True, capture_output=True, env=ENV, text=True
    )
    assert files(run) == alone
    assert done.stdout.count(f"of {SAMPLES} samples traced") == 1
    assert (run / "flow.png").is_file()


@pytest.fixture(scope="module")
def killed(clips: Path) -> tuple[Path, bytes]:
    """A run of two processes that were killed, and what the second of them had finished."""
    run = clips / "killed"
    started = subprocess.Popen(
        command(clips, run, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV
    )
    part = run / "trace" / "part-1" / "journal.jsonl"
    while started.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.02)
    for process in (torchrun := psutil.Process(started.pid)).children(recursive=True):
        process.kill()
    torchrun.kill()
    assert started.wait() == -signal.SIGKILL, "it must not have finished"
    return run, part.read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_process_loses_no_finished_sample(
    clips: Path, alone: dict[str, bytes], killed: tuple[Path, bytes], processes: int
) -> None:
    stopped, finished = killed
    run = clips / f"resumed-{processes}"
    shutil.copytree(stopped, run)
    subprocess.run(command(clips, run, processes), check=True, capture_output=True, env=ENV)
    assert files(run) == alone
    assert finished.splitlines()[0] in alone["journal.jsonl"].splitlines()


PARTING = """
import atexit, sys
from pathlib import Path
import torch.distributed as dist

last = {}  # atexit goes backwards: this is run after what `processes` leaves to be run
atexit.register(lambda: Path(f"{last['rank']}").write_text(str(dist.is_initialized())))
from prune.journal.processes import processes

state = processes()
last["rank"] = state.process_index
assert dist.is_initialized() and processes() is state
state.wait_for_everyone()
sys.exit(state.process_index and int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 5])
def test_processes_leave_their_group_before_they_end(tmp_path: Path, code: int) -> None:
    (tmp_path / "parting.py").write_text(PARTING)
    done = subprocess.run(
        [BIN / "torchrun", "--standalone", "--nproc-per-node", "2", "parting.py", str(code)],
        capture_output=True, text=True, env=ENV, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode != 0) == (code != 0), done.stderr
    assert (tmp_path / "1").read_text() == "False"
    assert code or (tmp_path / "0").read_text() == "False"


def test_groups_are_entered_in_one_place() -> None:
    entering = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "prune").rglob("*.py")
        if "PartialState" in path.read_text() or "Accelerator(" in path.read_text()
    ]
    assert entering == ["prune/journal/processes.py"]
