"""The benchmark of a served plan: `vllm bench serve` asks two servers, and a row compares them."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import Asked, row
from prune.results.load import Level, LoadRow

ROOT = Path(__file__).parents[2]


def asked(rate: float, first: float, token: float, processor: float, running: int) -> Asked:
    times = {"first_p50": first, "first_p95": first, "token_p50": token, "token_p95": token}
    whole = {"whole_p50": first, "whole_p95": first, "later_p50": token}
    counts = {"requests": 8, "completed": 8, "rejected": 0, "failed": 0, "tokens": 16}
    rates = {"requests_per_second": rate, "tokens_per_second": 2 * rate}
    row = LoadRow("", Level("closed", 4), 0, **counts, **rates, **times, **whole, running=running)
    return Asked(row, processor)


def test_ratios_are_of_runs_of_the_same_load() -> None:
    slow, fast = asked(1.0, 4000, 200, 3.0, 2), asked(2.0, 1000, 100, 1.0, 5)
    # The machine was half as fast in the second round.
    later = asked(0.5, 8000, 400, 3.0, 3), asked(1.0, 2000, 200, 1.0, 6)
    found = row(4, [(slow, fast), later])
    assert found["ratio requests/s"] == 2 and found["ratio first token"] == 4
    assert found["ratio token"] == 2 and found["ratio processor time"] == 3
    assert (found["dense running"], found["pruned running"]) == (3, 6)
    assert found["rounds"] == 2 and found["dense requests/s"] == 0.75


@pytest.mark.timeout(1800)
def test_two_servers_are_asked_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.serving", "--clients", "2", "--rounds", "1"),
            *("--each", "1", "--least", "2", "--frames", "4", "--side", "112", "--tokens", "24"),
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
    ratios = {name: float(value) for name, value in found.items() if name.startswith("ratio")}
    # A busy machine may hand a client whole answers: it knows no time between tokens then.
    at_once = math.isnan(ratios["ratio token"])
    assert all(value > 0 or (at_once and name == "ratio token") for name, value in ratios.items())
    assert found["vllm"].startswith("0.32") and found["serve"] == "--enforce-eager"
