"""The decoder process: reads requests from standard input, writes frames to standard output.

A request is a line of JSON. The answer is `H` and a line of JSON with the shape and the metadata,
then `F` and the bytes of each frame, then `D`; or, at any point, `E` and a line with the reason.
`M` in its place asks for the process to be replaced: it ran out of memory.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import BinaryIO

from prune.errors import PruneError
from prune.inputs.decoding.damage import DamageError
from prune.inputs.decoding.reading import read
from prune.inputs.decoding.request import Request


def main() -> None:
    """Answer requests for the backend named on the command line until standard input ends."""
    if "torchcodec" in sys.argv:
        # Before memory is measured: it brings torch.
        with suppress(ImportError, OSError, RuntimeError):
            import_module("torchcodec.decoders")
    # Libraries that print must not print into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group of processes; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = _address_space("VmSize")
    for line in sys.stdin.buffer:
        request = Request.from_dict(json.loads(line))
        _limit(request, start)
        try:
            _answer(request, answers, start)
        except MemoryError:
            reason = f"decoding takes more than {request.limits.memory >> 20} MiB of memory"
            _fail(answers, reason, b"M")
        finally:
            answers.flush()
            _watch(0)


def _answer(request: Request, answers: BinaryIO, start: int) -> None:
    try:
        reading = read(request)
        header = {
            "slots": reading.slots,
            "height": reading.height,
            "width": reading.width,
            "metadata": reading.metadata,
        }
        answers.write(b"H" + json.dumps(header).encode() + b"\n")
        for picture in reading.pictures:
            answers.write(b"F")
            answers.write(picture.data)
        answers.write(b"D")
    except DamageError as error:
        # Decoders that get no memory say that the data is invalid.
        if start and _address_space("VmPeak") - start > 0.7 * request.limits.memory:
            raise MemoryError from None
        _fail(answers, str(error))
    except PruneError as error:
        _fail(answers, str(error))
    except MemoryError:
        raise
    except Exception as error:
        _fail(answers, f"cannot decode this video: {type(error).__name__}")


def _fail(answers: BinaryIO, reason: str, tag: bytes = b"E") -> None:
    answers.write(tag + json.dumps(reason).encode() + b"\n")


def _limit(request: Request, start: int) -> None:
    # In case the parent, which keeps the time, is killed meanwhile.
    _watch(int(request.limits.seconds) + 60)
    if start:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = start + request.limits.memory
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _watch(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _address_space(field: str) -> int:
    """Bytes of address space in use, or in use at most so far; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            lines = [line for line in file if line.startswith(field)]
    except OSError:
        return 0
    return int(lines[0].split()[1]) * 1024 if lines else 0
