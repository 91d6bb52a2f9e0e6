"""`vllm serve DIR`: the plan in a server of several processes, asked through OpenAI's API."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest

from tests.vllm.folders import LAYERS, both
from tests.vllm.requests import REQUESTS, STEPS, Answer, Clip, Reference, Request, clip
from tests.vllm.served import TOLERANCE

CHATS = [one for one in REQUESTS if len(one.clips) == 1 and not one.images]
RATE = 2
"""Frames a second: as many as vLLM takes of a clip."""


def mp4(video: np.ndarray) -> bytes:
    """A clip as a file."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = video.shape[2], video.shape[1], "yuv420p"
        for frame in video:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return file.getvalue()


def decoded(data: bytes, folder: Path) -> Clip:
    """The clip that vLLM's decoder reads from a file."""
    path = folder / "clip.mp4"
    path.write_bytes(data)
    reader, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = reader.read()
        if not there:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    about = {
        "fps": float(RATE), "duration": len(frames) / RATE, "total_num_frames": len(frames),
        "frames_indices": list(range(len(frames))), "video_backend": "opencv",
    }  # fmt: skip
    return np.stack(frames), about


def body(request: Request, **more: Any) -> dict[str, Any]:
    """A request of OpenAI's chat API, its clip as a data URL."""
    clips = iter(request.clips)

    def part(given: dict[str, Any]) -> dict[str, Any]:
        if given["type"] != "video":
            return given
        data = base64.b64encode(mp4(next(clips)[0])).decode()
        return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}

    messages = [
        {**message, "content": [part(given) for given in message["content"]]}
        for message in request.messages
    ]
    return {
        "messages": messages, "max_tokens": STEPS, "min_tokens": STEPS, "temperature": 0,
        "logprobs": True, "ignore_eos": True, "return_token_ids": True,
        **more,
    }  # fmt: skip


class Server:
    """A running `vllm serve`.

    Attributes:
        url: where it listens.
        reference: transformers' answers.
    """

    def __init__(self, url: str, reference: Reference):
        self.url, self.reference = url, reference

    def chat(self, request: Request) -> Answer:
        """One answer."""
        response = httpx.post(f"{self.url}/v1/chat/completions", json=body(request), timeout=120)
        assert response.status_code == 200, response.text
        (choice,) = response.json()["choices"]
        return Answer(
            choice["token_ids"], [token["logprob"] for token in choice["logprobs"]["content"]]
        )

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        found = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        assert found, f"no metric {name}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def wait(self) -> None:
        """Until no request runs."""
        end = time.monotonic() + 30
        while self.metric("vllm:num_requests_running") and time.monotonic() < end:
            time.sleep(0.2)
        assert self.metric("vllm:num_requests_running") == 0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("served")
    model, processor, plan, folder = both("qwen3_vl", root)
    port = _free_port()
    env = {k: v for k, v in os.environ.items() if k != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    log = root / "log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", folder),
                *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"),
                *("--max-model-len", "2048", "--kv-cache-memory-bytes", str(256 << 20)),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, log)
        yield Server(url, Reference(model, processor, plan))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + 220
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-4000:])


def test_concurrent_chats_are_the_masked_model_s(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(CHATS)) as clients:
        answers = list(clients.map(server.chat, CHATS))
    for request, answer in zip(CHATS, answers, strict=True):
        clip = decoded(mp4(request.clips[0][0]), tmp_path)
        same = replace(request, clips=(clip,))
        expected = server.reference.pruned(same)
        assert answer.tokens == expected.tokens, request.name
        assert answer.distance(expected) < TOLERANCE, request.name
        dense = server.reference.dense(same)
        assert dense.distance(expected) > 100 * TOLERANCE, request.name


def test_a_plan_is_counted_at_the_metrics_of_vllm(server: Server) -> None:
    names = (
        "states_computed",
        "states_keys_only",
        "states_dense",
        "blocks_freed",
        "dense_requests",
    )
    server.chat(CHATS[1])
    server.wait()
    before = {name: server.metric(f"prune_{name}_total") for name in names}
    # Of a clip that the server has seen it would find the states in its prefix cache.
    server.chat(replace(CHATS[1], clips=(clip(40, 24, 112, 140),)))
    server.wait()
    more = {name: server.metric(f"prune_{name}_total") - before[name] for name in names}
    taken = more["states_computed"] + more["states_keys_only"]
    assert 0 < more["states_computed"] < taken < 0.7 * more["states_dense"]
    assert more["blocks_freed"] > 0 and more["dense_requests"] == 0
    assert server.metric("prune_layers") == LAYERS


def test_a_client_that_is_gone_leaves_no_blocks(server: Server) -> None:
    request = body(CHATS[0], max_tokens=1500, min_tokens=1500, stream=True)
    with httpx.stream(
        "POST", f"{server.url}/v1/chat/completions", json=request, timeout=60
    ) as reply:
        lines = (line for line in reply.iter_lines() if line.startswith("data: {"))
        for _ in range(3):
            assert json.loads(next(lines).removeprefix("data: "))["choices"] is not None
        assert server.metric("vllm:num_requests_running") == 1
    server.wait()
    assert server.metric("vllm:kv_cache_usage_perc") == 0
    bad = httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "word " * 5000}]},
        timeout=60,
    )
    assert bad.status_code == 400
    assert len(server.chat(CHATS[1]).tokens) == STEPS
