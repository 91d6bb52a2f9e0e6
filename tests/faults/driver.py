"""Commands of prune that are killed, limited and watched."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer
from typing import Any

ROOT = Path(__file__).parents[2]
ONE = ("--pathway", "video_to_last", "--samples", "all")
"""The shortest trace."""
QUICK = """
import functools
import prune.workflows.measure_frames as frames, prune.workflows.measure_plan as measure
measure.RUNS = 1
frames.measure_plan = functools.partial(measure.measure_plan, seeds=1)
"""
"""Before an export: what it measures is measured once, and not twenty times."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code, negative for a signal, and what it printed."""

    code: int | str
    out: str
    err: str
    seconds: float

    @property
    def error(self) -> str:
        """Its error line; there must be one, and no traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in re.split(r"[\r\n]", self.err) if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


class Zygote:
    """Runs `prune ARGS` in forks of one process (`tests.faults.zygote`)."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        self.ended: dict[int, int] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, "the zygote has ended"
        return line

    def start(
        self,
        *argv: object,
        limits: dict[str, int] | None = None,
        umask: int | None = None,
        env: dict[str, str] | None = None,
        before: str = "",
    ) -> "Running":
        self.count += 1
        out, err = (self.folder / f"{self.count}.{end}" for end in ("out", "err"))
        asked: dict[str, Any] = {
            "argv": list(map(str, argv)), "out": str(out), "err": str(err),
            "limits": limits or {}, "umask": umask, "env": env or {}, "before": before,
        }  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        while not (line := self._line()).startswith("start"):
            self._note(line)
        return Running(self, int(line.split()[1]), out, err, time.monotonic())

    def _note(self, line: str) -> None:
        _, pid, status = line.split()
        self.ended[int(pid)] = int(status)

    def run(self, *argv: object, timeout: float = 400, **given: Any) -> Ended:
        return self.start(*argv, **given).wait(timeout)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Running:
    """A command that runs."""

    zygote: Zygote
    pid: int
    out: Path
    err: Path
    began: float

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):  # It has ended by itself.
            os.kill(self.pid, number)

    def wait(self, timeout: float = 400) -> Ended:
        expired = Event()

        def expire() -> None:
            expired.set()
            self.kill()

        timer = Timer(timeout, expire)
        timer.start()
        while self.pid not in self.zygote.ended:
            self.zygote._note(self.zygote._line())
        timer.cancel()
        status = self.zygote.ended.pop(self.pid)
        code: int | str = os.waitstatus_to_exitcode(status)
        texts = [p.read_text(errors="replace") if p.exists() else "" for p in (self.out, self.err)]
        return Ended("timeout" if expired.is_set() else code, *texts, time.monotonic() - self.began)


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_lines(path: Path, lines: Sequence[object]) -> Path:
    """A JSONL file of objects, or of lines as they are."""
    rows = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path
