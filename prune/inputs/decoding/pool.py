"""Decoder processes as their parent sees them: started once, reused, replaced when they die."""

import atexit
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.reading import Request

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from prune.inputs.decoding.worker import main; main()"
)
"""What a decoder process runs. Not `multiprocessing`, which would run the caller's script again."""
_MAX_LINE = 2**24

Decoded = tuple[NDArray[np.uint8], dict[str, Any]]


class DecoderProcess:
    """One decoder process, for one request at a time."""

    def __init__(self, backend: str = "pyav", program: str = PROGRAM) -> None:
        paths = json.dumps([os.path.abspath(p) for p in sys.path])
        self.backend, self.owner = backend, os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, paths, backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Its few arrays need no threads, and their stacks count as memory.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self.process.stdin and self.process.stdout
        self._requests, self._answers = self.process.stdin, self.process.stdout

    def is_usable(self) -> bool:
        """Whether it lives, and belongs to this process rather than to one that forked it."""
        return self.owner == os.getpid() and self.process.poll() is None

    def decode(self, request: Request) -> Decoded:
        """Frames `[T, H, W, 3]` and metadata.

        Raises:
            BadInputError: with the reason, or what became of the process. It is then dead.
        """
        timer = Timer(request.limits.seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            self._requests.write(json.dumps(request.to_dict()).encode() + b"\n")
            self._requests.flush()
            return self._answer(request)
        except (EOFError, BrokenPipeError):
            late = not timer.is_alive()
            self.close()
            raise BadInputError(self._end(late, request)) from None
        except BaseException as error:
            if not isinstance(error, BadInputError):
                self.close()
            raise
        finally:
            timer.cancel()

    def _answer(self, request: Request) -> Decoded:
        header = self._line(b"H")
        slots, height, width = header["slots"], header["height"], header["width"]
        shape = (len(slots), height, width, 3)
        if len(slots) > request.num_frames or np.prod(shape, dtype=float) > request.limits.output:
            raise EOFError
        frames = np.empty(shape, np.uint8)
        for picture in range(max(slots) + 1):
            self._tag(b"F")
            first, *others = [slot for slot, source in enumerate(slots) if source == picture]
            self._fill(memoryview(frames[first]).cast("B"))
            frames[others] = frames[first]
        self._tag(b"D")
        return frames, header["metadata"]

    def _line(self, tag: bytes) -> Any:
        self._tag(tag)
        return json.loads(self._raw_line())

    def _raw_line(self) -> bytes:
        line = self._answers.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _tag(self, expected: bytes) -> None:
        tag = self._answers.read(1)
        if tag == b"E":
            raise BadInputError(json.loads(self._raw_line()))
        if tag != expected:
            raise EOFError

    def _fill(self, buffer: memoryview) -> None:
        while buffer:
            count = self._answers.readinto(buffer)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            buffer = buffer[count:]

    def _end(self, late: bool, request: Request) -> str:
        code = self.process.wait()
        if late:
            return f"decoding took longer than {request.limits.seconds:g} s"
        if code < 0:
            return f"the decoder crashed ({signal.Signals(-code).name})"
        return f"the decoder ended (exit code {code})"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()


_idle: defaultdict[str, list[DecoderProcess]] = defaultdict(list)


def decode(request: Request) -> Decoded:
    """Decode in an idle process, or in a new one.

    Calls from several threads take a process each.

    Raises:
        BadInputError: the clip cannot be decoded.
    """
    process = _take(request.backend)
    try:
        return process.decode(request)
    finally:
        if process.is_usable():
            _idle[request.backend].append(process)


def _take(backend: str) -> DecoderProcess:
    idle = _idle[backend]
    while True:
        try:
            process = idle.pop()
        except IndexError:
            return DecoderProcess(backend)
        if process.is_usable():
            return process


@atexit.register
def _close() -> None:
    for processes in _idle.values():
        for process in processes:
            if process.owner == os.getpid():
                process.close()
