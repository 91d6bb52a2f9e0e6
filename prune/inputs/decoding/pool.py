"""Idle decoder processes: started when none is free, reused, forgotten when they die."""

import atexit
from collections import defaultdict

from prune.inputs.decoding.process import Decoded, DecoderProcess
from prune.inputs.decoding.request import Request

_idle: defaultdict[str, list[DecoderProcess]] = defaultdict(list)


def decode(request: Request) -> Decoded:
    """Frames `[T, H, W, 3]` and metadata, decoded in an idle process or in a new one.

    Calls from several threads take a process each.

    Raises:
        BadInputError: the clip cannot be decoded.
    """
    process = _take(request.backend)
    try:
        return process.decode(request)
    finally:
        if process.is_alive:
            _idle[request.backend].append(process)


def _take(backend: str) -> DecoderProcess:
    idle = _idle[backend]
    while True:
        try:
            process = idle.pop()
        except IndexError:
            return DecoderProcess(backend)
        if process.is_ours and process.is_alive:
            return process


@atexit.register
def _close() -> None:
    for processes in _idle.values():
        for process in processes:
            if process.is_ours:
                process.close()
