"""Requests to endpoints that are busy, broken or hostile; each one is a real server."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from prune.errors import BadInputError, PruneError, ResourceError
from prune.evidence import client
from prune.evidence.client import post
from prune.evidence.completion import read_choices

KEY = "sk-secret-0123456789"
TOKEN = {"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}
GOOD: dict[str, Any] = {
    "choices": [{"message": {"content": "A"}, "logprobs": {"content": [TOKEN]}}]
}
Answer = Callable[[BaseHTTPRequestHandler, int], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str | None]]]:
    """A server's URL, and the `Authorization` of each request that it gets."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            keys.append(self.headers.get("Authorization"))
            answer(self, len(keys))

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions", keys
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def good(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, json.dumps(GOOD).encode())


def test_the_key_is_never_sent_elsewhere() -> None:
    with serving(good) as (other, others):

        def redirect(handler: BaseHTTPRequestHandler, number: int) -> None:
            send(handler, b"", 302 if number % 2 else 307, Location=other)

        with serving(redirect) as (url, keys):
            for _ in range(2):
                with pytest.raises(ResourceError, match=r"leads to 127.0.0.1:.* nothing is sent"):
                    post(url, {}, KEY, (0.01,))
    assert keys == [f"Bearer {KEY}"] * 2 and not others


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    def busy(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number < 3:
            return send(handler, b"slow down", status)
        return good(handler, number)

    with serving(busy) as (url, keys):
        assert post(url, {}, "", (0.01, 0.01)) == GOOD
    assert keys == [None] * 3


def test_retry_after_is_obeyed_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            return send(handler, b"", 429, Retry_After="1")
        if number == 2:
            return send(handler, b"", 503, Retry_After="999999")
        return good(handler, number)

    waited: list[float] = []
    monkeypatch.setattr(client, "MAX_WAIT", 1.5)
    sleep = time.sleep
    monkeypatch.setattr(client.time, "sleep", lambda s: (waited.append(s), sleep(s / 100)))
    with serving(busy) as (url, _):
        post(url, {}, "", (0.01, 0.01))
    assert waited == [1.0, 1.5]


def drip(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def cut(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


def huge(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(900):
            handler.wfile.write(b" " * 2**20)
    except OSError:
        pass


def no_http(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.wfile.write(b"NOT HTTP\r\n\r\n")


def compressed(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, gzip.compress(b" " * 2**24), Content_Encoding="gzip")


def refused(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, f"bad key {handler.headers['Authorization']}".encode(), 401)


def too_long(handler: BaseHTTPRequestHandler, number: int) -> None:
    send(handler, b"context length exceeded", 400)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (drip, ResourceError, "not whole after|ReadTimeout"),
        (cut, ResourceError, "no usable answer in 2 requests"),
        (no_http, ResourceError, "no usable answer in 2 requests"),
        (refused, ResourceError, r"status 401: bad key Bearer \*\*\*; check"),
        (huge, BadInputError, "longer than"),
        (compressed, BadInputError, "compressed"),
        (too_long, BadInputError, "context length exceeded"),
        (lambda h, n: send(h, b"<html>"), BadInputError, "Invalid JSON"),
        (lambda h, n: send(h, b"[" * 200_000), BadInputError, "nested too deeply"),
    ],
)
def test_answers_are_bounded_and_named(
    answer: Answer, kind: type[PruneError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.5)
    with serving(answer) as (url, _), pytest.raises(kind, match=said) as error:
        post(url, {}, KEY, (0.01,))
    assert KEY not in str(error.value) and "\n" not in str(error.value)


def edited(**logprobs: Any) -> dict[str, Any]:
    token = {**TOKEN, "top_logprobs": [{"token": "A", "logprob": -0.1, **logprobs}]}
    return {"choices": [{"logprobs": {"content": [token]}}]}


@pytest.mark.parametrize(
    "answer",
    [
        [1, 2],
        {"choices": None},
        {"choices": []},
        {"choices": ["x"]},
        edited(logprob=3.0),
        edited(logprob=float("nan")),
        edited(token=7),
    ],
)
def test_answers_in_another_format(answer: Any) -> None:
    with pytest.raises(BadInputError, match="no usable answer: /"):
        read_choices(answer, "http://x")


def test_what_may_pass_is_not_recorded(
    prune_command: Callable[..., tuple[int, str, str]],
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    well: list[bool] = []

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        return good(handler, number) if well else send(handler, b"down", 503)

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("prune.evidence.remote.Endpoint.waits", (0.01,))
    with serving(answer) as (url, keys):
        command = (
            "explain", "model-x", "--data", clips / "test.jsonl", "--limit", "1", "--frames", "2",
            "--regions", "frames", "--count", "1", "--search", "full", "--endpoint", url,
            "--out", tmp_path,
        )  # fmt: skip
        monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
        code, _, shown = prune_command(*command)
        assert code == 6 and "run the same command again to resume" in shown
        assert not (tmp_path / "evidence" / "journal.jsonl").read_bytes()
        well.append(True)
        code, _, shown = prune_command(*command)
        assert code == 0, shown
    assert set(keys) == {f"Bearer {KEY}"}
    assert not any(KEY.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ResourceError, match="in 1 requests: ConnectError"):
        post(url, {}, "", ())
    with pytest.raises(ResourceError, match="not the URL of an endpoint"):
        post("file:///etc/passwd", {}, "", ())
