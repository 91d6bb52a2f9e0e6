"""One decoder process as its parent sees it: requests, answers, and its end."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from io import BufferedReader
from threading import Event, Timer
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.request import Request

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from prune.inputs.decoding.worker import main; main()"
)
"""What a decoder process runs. Not `multiprocessing`, which would run the caller's script again."""
_MAX_LINE = 2**24

Decoded = tuple[NDArray[np.uint8], dict[str, Any]]
"""Frames `[T, H, W, 3]` and their metadata."""


class DecoderProcess:
    """A decoder process, for one request at a time."""

    def __init__(self, backend: str = "pyav", program: str = PROGRAM) -> None:
        paths = json.dumps([os.path.abspath(p) for p in sys.path])
        self._owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, paths, backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Its few arrays need no threads, and their stacks count as memory.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self.process.stdin and self.process.stdout
        self._requests = self.process.stdin
        self._answers = cast(BufferedReader, self.process.stdout)

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, rather than one that forked this process."""
        return self._owner == os.getpid()

    @property
    def is_alive(self) -> bool:
        """Whether it can take a request."""
        return self.process.poll() is None

    def decode(self, request: Request) -> Decoded:
        """Frames `[T, H, W, 3]` and metadata.

        Raises:
            BadInputError: the clip cannot be decoded, or the process ended over it.
        """
        expired = Event()
        timer = Timer(request.limits.seconds, self._expire, [expired])
        timer.daemon = True
        timer.start()
        try:
            self._requests.write(json.dumps(request.to_dict()).encode() + b"\n")
            self._requests.flush()
            return self._answer(request)
        except BadInputError:
            raise
        except (ValueError, LookupError, TypeError):
            self.close()
            raise BadInputError("the decoder's answer is not valid") from None
        except (EOFError, BrokenPipeError):
            self.close()
            if expired.is_set():
                reason = f"decoding took longer than {request.limits.seconds:g} s"
            else:
                reason = self._end()
            raise BadInputError(reason) from None
        except BaseException:
            # Half of an answer lies in the pipe.
            self.close()
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()

    def _answer(self, request: Request) -> Decoded:
        self._expect(b"H")
        header = json.loads(self._line())
        slots, height, width = header["slots"], header["height"], header["width"]
        shape = (len(slots), height, width, 3)
        if len(slots) > request.num_frames or np.prod(shape, dtype=float) > request.limits.output:
            raise ValueError(shape)
        frames = np.empty(shape, np.uint8)
        for picture in range(max(slots) + 1):
            self._expect(b"F")
            first, *others = [slot for slot, source in enumerate(slots) if source == picture]
            self._fill(memoryview(frames[first]).cast("B"))
            frames[others] = frames[first]
        self._expect(b"D")
        return frames, header["metadata"]

    def _expect(self, tag: bytes) -> None:
        found = self._answers.read(1)
        if found == tag:
            return
        if not found:
            raise EOFError
        if found not in (b"E", b"M"):
            raise ValueError(found)
        reason = json.loads(self._line())
        if found == b"M":
            self.close()
        raise BadInputError(reason)

    def _line(self) -> bytes:
        line = self._answers.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _fill(self, buffer: memoryview) -> None:
        while buffer:
            count = self._answers.readinto(buffer)
            if not count:
                raise EOFError
            buffer = buffer[count:]

    def _expire(self, expired: Event) -> None:
        expired.set()
        self.process.kill()

    def _end(self) -> str:
        code = self.process.wait()
        if code < 0:
            return f"the decoder crashed ({signal.Signals(-code).name})"
        return f"the decoder ended (exit code {code})"
