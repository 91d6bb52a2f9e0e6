"""The benchmark of a served plan: `vllm bench serve` asks two servers, and a row compares them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import Asked, row

ROOT = Path(__file__).parents[2]


def test_ratios_are_of_runs_of_the_same_load() -> None:
    slow, fast = Asked(1.0, 4.0, 0.2, 3.0, 2), Asked(2.0, 1.0, 0.1, 1.0, 5)
    # The machine was half as fast in the second round.
    later = Asked(0.5, 8.0, 0.4, 3.0, 3), Asked(1.0, 2.0, 0.2, 1.0, 6)
    found = row(4, [(slow, fast), later])
    assert found["ratio requests/s"] == 2 and found["ratio first token"] == 4
    assert found["ratio token"] == 2 and found["ratio processor time"] == 3
    assert (found["dense running"], found["pruned running"]) == (3, 6)
    assert found["rounds"] == 2 and found["dense requests/s"] == 0.75


@pytest.mark.timeout(900)
def test_two_servers_are_asked_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.serving", "--clients", "2", "--rounds", "1"),
            *("--each", "1", "--least", "2", "--frames", "4", "--side", "112", "--tokens", "4"),
            *("--layers", "8", "--width", "64", "--kv-mib", "16", "--", "--enforce-eager"),
        ],
        cwd=ROOT,
        env={**os.environ, "PRUNE_RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (found,) = csv.DictReader((tmp_path / "serving_cpu.csv").open())
    assert float(found["parity"]) < 1e-4 and found["requests"] == "2"
    assert all(float(value) > 0 for name, value in found.items() if "ratio" in name)
    assert found["vllm"].startswith("0.32") and found["serve"] == "--enforce-eager"
