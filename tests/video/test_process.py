"""The decoder process: what it may cost, how it dies, and who shares it."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from prune.errors import BadInputError
from prune.inputs.decoding import pool
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.process import DecoderProcess
from prune.inputs.decoding.request import Request
from prune.inputs.video import load_video

START = "import os, resource, signal, sys; sys.stdin.buffer.readline(); "
"""A decoder that has read its request."""


def _request(path: Path, seconds: float) -> Request:
    limits = Limits(seconds=seconds)
    return Request([str(path)], 4, None, None, "uniform", None, 25.0, "pyav", limits)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("os.abort()", r"crashed \(SIGABRT\)"),
        ("sys.exit(3)", r"ended \(exit code 3\)"),
        ("\nwhile True: pass", "took longer than 0.5 s"),
        ("print('x' * 100)", "answer is not valid"),
        # Asks its parent for 3 TB.
        (
            """sys.stdout.write('H{"slots": [0], "height": 1000000, "width": 1000000}\\n')""",
            "answer is not valid",
        ),
    ],
)
def test_a_decoder_that_dies_is_one_failure(plain: Path, program: str, reason: str) -> None:
    process = DecoderProcess(program=START + program)
    started = time.monotonic()
    with pytest.raises(BadInputError, match=reason):
        process.decode(_request(plain, 0.5))
    assert not process.is_alive and time.monotonic() - started < 20


def test_the_next_clip_gets_another_process(plain: Path) -> None:
    want, _ = load_video(plain, 4)
    before = pool._idle["pyav"][-1].process
    os.kill(before.pid, signal.SIGSTOP)
    with pytest.raises(BadInputError, match=r"plain.mp4: decoding took longer than 0.3 s"):
        load_video(plain, 4, limits=Limits(seconds=0.3))
    got, _ = load_video(plain, 4)
    assert (got == want).all() and before.poll() == -signal.SIGKILL
    # One that died while idle is nobody's failure.
    after = pool._idle["pyav"][-1].process
    after.kill()
    after.wait()
    assert (load_video(plain, 4)[0] == want).all()


def test_one_process_is_reused_and_has_no_torch(plain: Path) -> None:
    load_video(plain, 4)
    first = pool._idle["pyav"][-1].process.pid
    with pytest.raises(BadInputError):
        load_video(plain, 4, start=9)
    load_video(plain, 4)
    assert pool._idle["pyav"][-1].process.pid == first
    assert "torch" not in Path(f"/proc/{first}/maps").read_text()


def test_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.avi"
    _write(path, np.zeros((2000, 3000, 3), np.uint8), "png", "rgb24")
    with pytest.raises(BadInputError, match="takes more than 40 MiB of memory"):
        load_video(path, 1, limits=Limits(memory=40 * 2**20))
    assert load_video(path, 1)[0].shape == (1, 2000, 3000, 3)


def test_pixels_frames_and_output(plain: Path, tmp_path: Path) -> None:
    for limits in (Limits(pixels=96 * 95), Limits(frames=15), Limits(output=4 * 96 * 96 * 3 - 1)):
        with pytest.raises(BadInputError, match="too large to decode"):
            load_video(plain, 4, limits=limits)
    load_video(plain, 4, limits=Limits(96.0, 2**30, 96 * 96, 16, 4 * 96 * 96 * 3))
    path = tmp_path / "bomb.avi"
    _write(path, np.zeros((3000, 4000, 3), np.uint8), "png", "rgb24")
    assert path.stat().st_size < 2**20
    with pytest.raises(BadInputError, match="64 frames of 4000x3000 take 2197 MiB"):
        load_video(path, 64)


def _write(path: Path, picture: np.ndarray, codec: str, pixels: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pixels
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_threads(plain: Path) -> None:
    want, _ = load_video(plain, 8)
    with ThreadPoolExecutor(4) as threads:
        for got, _ in threads.map(lambda _: load_video(plain, 8), range(24)):
            assert (got == want).all()


def test_a_forked_process_starts_its_own(plain: Path) -> None:
    load_video(plain, 4)
    child = os.fork()
    if not child:
        # Nothing of the test runner may run here, whatever happens.
        try:
            load_video(plain, 4)
            os._exit(len(pool._idle["pyav"]) and pool._idle["pyav"][-1].is_ours)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    load_video(plain, 4)


def test_a_script_without_a_main_guard(plain: Path, tmp_path: Path) -> None:
    """And the decoder ends with it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from prune.inputs.video import load_video\n"
        "from prune.inputs.decoding import pool\n"
        f"print(load_video({str(plain)!r}, 2)[0].shape, pool._idle['pyav'][0].process.pid)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(2, 96, 96, 3)") and not done.stderr
    pid = done.stdout.split()[-1]
    assert not Path(f"/proc/{pid}").exists()


def test_an_interrupted_call_leaves_no_half_answer(plain: Path) -> None:
    process = DecoderProcess(program=START + "signal.pause()")
    main = threading.main_thread().ident
    assert main is not None
    # A shell's background jobs, as which tests may run, ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            process.decode(_request(plain, 60))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not process.is_alive
