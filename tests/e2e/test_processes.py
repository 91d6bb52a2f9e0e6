"""A trace split over processes is the trace of one process, and outlives a killed one."""

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


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_process_loses_no_finished_sample(
    clips: Path, alone: dict[str, bytes], processes: int
) -> None:
    run = clips / f"killed-{processes}"
    shutil.rmtree(run, ignore_errors=True)
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
    finished = part.read_bytes()
    subprocess.run(command(clips, run, processes), check=True, capture_output=True, env=ENV)
    assert files(run) == alone
    assert finished.splitlines()[0] in alone["journal.jsonl"].splitlines()
