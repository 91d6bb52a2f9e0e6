"""A load is sent to this machine only, no clip twice, and its rows are what the driver noted."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pytest

from prune.bench import driver
from prune.bench.chats import RATE, chats
from prune.bench.driver import check_driver, row_of
from prune.bench.endpoint import KV, RUNNING, Endpoint, read_metrics, watched
from prune.bench.load import count_of, levels_of
from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError, ResourceError, UsageError
from prune.inputs.load import MOST, Load
from prune.inputs.sample import Sample
from prune.report.figures.load import load_figure
from prune.report.page import html
from prune.results.export_result import Result
from prune.results.load import Level, LoadReport, LoadRow, load_lines
from prune.workflows.bench_load import bench_load, write_rows
from tests.exports import small_result
from tests.unit.test_apply import mixed_plan

METRICS = """# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:num_preemptions_total 4.0
prune_layers LAYERS
"""
FOUND = {
    "completed": 2, "request_throughput": 0.5, "output_throughput": 1.5,
    "output_lens": [2, 0, 0, 3], "ttfts": [1.0, 0.0, 0.0, 3.0],
    "itls": [[0.1], [], [], [0.2, 0.3]],
    "errors": ["", "Too Many Requests", "Bad Request", ""],
}  # fmt: skip
"""What `vllm bench serve` saves in detail, shortened, of four requests."""


@contextmanager
def server(models: Any, layers: int = 0) -> Iterator[str]:
    """A server that says what it serves and counts, and answers nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {
                "/v1/models": json.dumps(models),
                "/metrics": METRICS.replace("LAYERS", str(layers)),
            }
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()


def serving(name: str, root: Path | None = None) -> dict[str, Any]:
    return {"data": [{"id": name, "root": None if root is None else str(root)}]}


def row(server: str, level: Level, run: int = 0, **more: Any) -> LoadRow:
    found = row_of(FOUND, server, level, run, 4, {"running": 2, "kv_share": 0.5})
    return LoadRow(**{**vars(found), **more})


def report() -> LoadReport:
    few, many = Level("closed", 1), Level("open", 2.5)
    runs = [(0, "dense", 1.0), (0, "pruned", 2.0), (1, "dense", 3.0), (1, "pruned", 6.0)]
    rows = [
        row(name, at, run, requests_per_second=rate)
        for at in (few, many)
        for run, name, rate in runs
    ]
    return LoadReport(tuple(rows), {"machine": "a <machine>"})


def frames_of(message: dict[str, Any]) -> np.ndarray:
    url = message["content"][0]["video_url"]["url"]
    data = base64.b64decode(url.removeprefix("data:video/mp4;base64,"))
    with av.open(io.BytesIO(data)) as clip:
        assert clip.streams.video[0].average_rate == RATE
        return np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)])


@pytest.mark.parametrize(
    "url",
    ["http://8.8.8.8:8000", "http://example.org", "http://0.0.0.0:80", "http://10.0.0.1/v1"],
)
def test_only_this_machine_is_asked(url: str) -> None:
    with pytest.raises(RefusedError, match="another machine"):
        Endpoint.open(url)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1/v2", "http://"]
)
def test_an_address_is_one(url: str) -> None:
    with pytest.raises(BadInputError, match="not the address of a server"):
        Endpoint.open(url)


def test_what_answers_is_a_server() -> None:
    with server({"data": []}) as url, pytest.raises(BadInputError, match="no list of models"):
        Endpoint.open(url)
    with pytest.raises(ResourceError, match=r"no answer .*start the server"):
        Endpoint.open(url)


def test_a_server_says_what_it_serves_and_counts(tmp_path: Path) -> None:
    with server(serving("name", tmp_path)) as url:
        for given in (url, f"{url}/", f"{url}/v1"):
            found = Endpoint.open(given)
            assert (found.url, found.model, found.root) == (url, "name", str(tmp_path))
        with watched(found) as seen:
            pass
        assert seen.whole(RUNNING) == 3 and seen.most[KV] == 0.25 and seen.preempted == 0
    assert found.metrics() == {}
    assert read_metrics("") == read_metrics("# HELP a b\n\nnonsense\nname none\n") == {}


def test_servers_are_the_right_ones(tmp_path: Path, clips: Path, exported: Path) -> None:
    data = clips / "test.jsonl"
    load = {"clients": (1,)}
    with server(serving("other", tmp_path), 4) as pruned, server(serving("dense")) as dense:
        with pytest.raises(RefusedError, match=r"serves .*, not .*pruned"):
            bench_load(Load(pruned, **load), data, folder=exported)
        with pytest.raises(UsageError, match="the same server"):
            bench_load(Load(pruned, **load), data, against=f"{pruned}/v1")
        with pytest.raises(RefusedError, match="under a plan"):
            bench_load(Load(dense, **load), data, against=pruned)
        with pytest.raises(UsageError, match="holds no report"):
            bench_load(Load(pruned, **load), data, folder=tmp_path, report=True)


def test_a_missing_driver_is_one_line(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"vllm", "pandas"}
    monkeypatch.setattr(driver, "find_spec", lambda name: name if name in there else None)
    check_driver()
    there.remove("pandas")
    with pytest.raises(UsageError, match="and pandas is not installed"):
        check_driver()
    there.clear()
    with server(serving("m")) as url, pytest.raises(UsageError, match="pandas are not installed"):
        bench_load(Load(url, (1,)), clips / "test.jsonl")


def test_a_load_is_bounded() -> None:
    url = "http://127.0.0.1:1"
    for wrong in ({}, {"clients": (0,)}, {"rates": (-1.0,)}, {"clients": (MOST + 1,)},
                  {"rates": (float("nan"),)}, {"clients": (1,), "requests": MOST + 1}):  # fmt: skip
        with pytest.raises(UsageError, match="--"):
            Load(url, **wrong)
    closed, open_ = levels_of(Load(url, (16,), (0.5,)))
    assert (str(closed), str(open_)) == ("16 clients", "0.5 requests/s")
    assert (count_of(closed, 8), count_of(open_, 8)) == (32, 8)
    assert (count_of(closed, 40), count_of(Level("open", 2.5), 8)) == (40, 25)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clients", "1"], "give --endpoint"),
        (["--endpoint", "http://127.0.0.1:1"], "say how hard"),
        (["--endpoint", "http://127.0.0.1:1", "--clients", "1,x"], "expected numbers"),
        (["--endpoint", "http://127.0.0.1:1", "--clients", "1.5"], "whole numbers"),
        (["--endpoint", "http://127.0.0.1:1", "--clients", "1", "--dtype", "auto"], "leave it out"),
        (["--endpoint", "http://127.0.0.1:1", "--clients", "1", "--frames", "4,8"], "one number"),
        ([], "an exported folder, or --endpoint"),
        (["pruned", "--runs", "1"], "twice"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    words: list[str], said: str, prune_command: Any
) -> None:
    code, out, err = prune_command("bench", "--data", "x.jsonl", *words)
    assert code == 2 and said in " ".join(err.split()) and not out


def test_no_clip_is_sent_twice(samples: list[Sample]) -> None:
    two = samples[:2]
    asked = chats(two, 4, range(4))
    shown = [frames_of(messages[-1]) for messages in asked]
    assert all(len(frames) == 4 for frames in shown)
    texts = [messages[-1]["content"][1]["text"] for messages in asked]
    assert texts[0] == texts[2] != texts[1] and two[0].question in texts[0]
    assert len({frames.tobytes() for frames in shown}) == 4
    # The third shows the first's frames, a column to the right.
    moved = np.roll(shown[0].astype(int), 1, axis=2)
    assert np.abs(shown[2] - moved).mean() < np.abs(shown[2] - shown[1].astype(int)).mean()


def test_a_row_is_what_the_driver_noted() -> None:
    found = row("dense", Level("closed", 4))
    assert (found.requests, found.completed, found.rejected, found.failed) == (4, 2, 1, 1)
    assert found.first_p50 == pytest.approx(2000) and found.first_p95 == pytest.approx(2900)
    assert found.token_p50 == pytest.approx(200) and found.tokens == 5
    assert found.later_p50 == pytest.approx((100 + 500 / 2) / 2)
    assert found.whole_p50 == pytest.approx((1100 + 3500) / 2)
    at_once = {**FOUND, "itls": [[], [], [], []]}
    assert row_of(at_once, "dense", Level("closed", 4), 0, 4, {}).later_p50 is None
    # The last chunk of an answer of one token may be empty.
    one = {**FOUND, "output_lens": [1, 0, 0, 3]}
    found = row_of(one, "dense", Level("closed", 4), 0, 4, {})
    assert found.later_p50 == pytest.approx(500 / 2)
    none = {**FOUND, "completed": 0, "output_lens": [0] * 4}
    empty = row_of(none, "dense", Level("closed", 4), 0, 4, {})
    assert empty.failed == 3 and empty.first_p95 is None and empty.kv_share is None


def test_lines_are_medians_over_runs() -> None:
    lines = load_lines(report())
    assert [(str(at["level"]), at["server"], at["requests_per_second"]) for at in lines] == [
        ("1 client", "dense", 2.0), ("1 client", "pruned", 4.0),
        ("2.5 requests/s", "dense", 2.0), ("2.5 requests/s", "pruned", 4.0),
    ]  # fmt: skip
    assert all((at["lost"], at["requests"]) == (4, 8) for at in lines)
    top, bottom = (load_figure(report()).axes[index] for index in (0, 3))
    assert (top.get_xlabel(), bottom.get_xlabel()) == ("clients", "requests sent per second")
    assert [list(line.get_ydata()) for line in top.lines] == [[2.0], [4.0]]


def test_rows_are_a_table(tmp_path: Path) -> None:
    write_rows(tmp_path / "load.csv", report())
    head, *lines = (tmp_path / "load.csv").read_text().splitlines()
    assert len(lines) == 8 and head.startswith("server,loop,level,run,") and "machine" in head
    assert lines[0].startswith("dense,closed,1,0,4,2,1,1,5,1.0,")


def test_a_report_shows_the_load(tiny: LoadedModel, samples: list[Sample], tmp_path: Path) -> None:
    plan = mixed_plan(tiny)
    result = small_result(tiny, plan, samples)
    assert "Under load" not in html(result, plan)
    served = Result(**{**vars(result), "served": report()})
    served.save(tmp_path / "prune_report.json")
    again = Result.load(tmp_path / "prune_report.json")
    assert again.served == report()
    page = html(again, plan)
    assert "Under load" in page and "a &lt;machine&gt;" in page and "2.5 requests/s" in page
