"""A running `vllm serve`, its chats with video, and its counters."""

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np

from tests.vllm.requests import STEPS, Answer, Clip, Request

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
        pid: of its first process.
    """

    def __init__(self, url: str, pid: int):
        self.url, self.pid = url, pid

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


@contextmanager
def serving(folder: Path, log: Path, *flags: str, seconds: float = 600) -> Iterator[Server]:
    """Run `vllm serve` on a folder, on a free port of this machine, until the block is left.

    Args:
        folder: of a model.
        log: the file for what it prints.
        flags: of the command.
        seconds: the longest that its start may take.
    """
    port = _free_port()
    env = {k: v for k, v in os.environ.items() if k != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    with open(log, "w") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", folder),
                *("--host", "127.0.0.1", "--port", str(port), *flags),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, log, seconds)
        yield Server(url, process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-12000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-12000:])
