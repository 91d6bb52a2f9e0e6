"""`prune bench --endpoint` with two real servers: all requests answered, dense beside pruned."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prune.bench.endpoint import Endpoint
from prune.inputs.load import Load
from prune.tiny.benchmark import write_benchmark
from prune.workflows.bench_load import bench_load
from prune.workflows.export import export_model
from tests.vllm.folders import both
from tests.vllm.server import serving

FLAGS = (
    *("--max-model-len", "1024", "--max-num-seqs", "4", "--enforce-eager"),
    *("--kv-cache-memory-bytes", str(16 << 20), "--dtype", "float32", "--skip-mm-profiling"),
    *("--limit-mm-per-prompt", '{"video": 1, "image": 0}'),
)

TOKENS = 48
"""Of an answer: even on a quick machine it takes longer than two looks at the gauges."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_benchmark(folder, "test", per_task=1)
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, data: Path
) -> Iterator[tuple[Any, Any, Path]]:
    root = tmp_path_factory.mktemp("served")
    _, _, plan, _ = both("qwen2_5_vl", root)
    folder = root / "export"
    export_model(root / "dense", folder, plan=plan, test=data, num_frames=4, limit=2)
    with (
        serving(root / "dense", root / "dense log", *FLAGS, seconds=900) as dense,
        serving(folder, root / "pruned log", *FLAGS, seconds=900) as pruned,
    ):
        yield dense, pruned, folder


@pytest.mark.timeout(2400)
def test_dense_and_pruned_are_asked_the_same(
    servers: tuple[Any, Any, Path], data: Path, tmp_path: Path
) -> None:
    dense, pruned, folder = servers
    load = Load(pruned.url, (1, 4), (2.0,), requests=2, tokens=TOKENS, minutes=15)
    found = bench_load(
        load, data, folder=folder, against=dense.url, table=tmp_path / "load.csv", report=True
    )
    rows = found.report.rows
    assert found.page == folder / "report.html"
    page = found.page.read_text()
    for row in rows:
        assert f"<td>{row.requests_per_second:.2f}</td>" in page
        assert f"{row.first_p50:.0f} [{row.first_p95:.0f}]" in page
    assert [(row.server, str(row.level)) for row in rows] == [
        (server, level)
        for level in ("1 client", "4 clients", "2 requests/s")
        for server in ("dense", "pruned")
    ]
    assert [row.requests for row in rows] == [2, 2, 8, 8, 20, 20]
    for row in rows:
        assert (row.completed, row.rejected, row.failed) == (row.requests, 0, 0)
        assert row.tokens == TOKENS * row.requests and row.preempted == 0
        assert 0 < row.first_p50 <= row.first_p95 and 0 < row.token_p50 <= row.token_p95
        assert row.whole_p50 > row.first_p50 and row.tokens_per_second > row.requests_per_second
    assert max(row.running for row in rows) > 1 and max(row.kv_share for row in rows) > 0
    asked = Endpoint.open(dense.url).metrics()["vllm:request_success_total"]
    assert asked == Endpoint.open(pruned.url).metrics()["vllm:request_success_total"] == 31
    assert not found.left_out and found.figure is not None and found.figure.is_file()
    lines = list(csv.DictReader((tmp_path / "load.csv").open()))
    assert len(lines) == 6 and lines[1]["pruned layers under a plan"] != "0"
    assert lines[0]["driver"].startswith("vllm bench serve 0.")


@pytest.mark.timeout(300)
def test_failures_and_time_are_told(
    servers: tuple[Any, Any, Path], data: Path, prune_command: Any
) -> None:
    _, pruned, _ = servers
    wrong = data.with_name("long.jsonl")
    line = json.loads(data.read_text().splitlines()[0])
    # Longer than the server's context: it refuses the request.
    wrong.write_text(json.dumps({**line, "question": "word " * 2000}) + "\n")
    found = bench_load(Load(pruned.url, (1,), requests=2, tokens=4), wrong, frames=4)
    (row,) = found.report.rows
    assert (row.server, row.failed, row.completed, row.first_p50) == ("pruned", 2, 0, None)
    code, out, err = prune_command(
        "bench", "--endpoint", pruned.url, "--data", data, "--clients", "1,2", "--requests", 1,
        "--answer-tokens", 512, "--minutes", 0.05, "--json",
    )  # fmt: skip
    assert code == 6 and "no run was done in 0.05 minutes" in err and not out
