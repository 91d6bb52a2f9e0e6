"""The lock of a run folder: one process at a time writes into it."""

import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from prune.errors import RefusedError

LOCK = ".lock"


class RunLock:
    """The right to write into a folder, until the process ends or `release` is called.

    The kernel lets go of the lock of a process that dies, so a stale one is taken over. Between
    machines that share a folder it may know nothing: there the name in the file counts.

    Args:
        folder: made if missing.

    Raises:
        RefusedError: another process has it; its pid and host are named.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOCK
        self._handle = -1
        # An owner that ends removes the file: then the lock that was gained is of none.
        while self._handle < 0 or not self._is_there():
            self._close()
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._gain(folder)
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        os.truncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(owner).encode(), 0)

    def release(self) -> None:
        """Remove the lock."""
        if self._handle >= 0 and self._is_there():
            with suppress(OSError):
                self._path.unlink()
        self._close()

    def _gain(self, folder: Path) -> None:
        pid, host = self._owner()
        try:
            # A process's own lock, not that of an open file, which its children would share.
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._close()
            raise RefusedError(
                f"{folder}: locked by pid {pid} on {host}, which writes into it: wait until it "
                "ends, or choose a new --out"
            ) from None
        if host not in ("", socket.gethostname()):
            self._close()
            raise RefusedError(
                f"{folder}: locked by pid {pid} on {host}, and this is {socket.gethostname()}: if "
                f"no prune runs there any more, delete {self._path} and run the command again"
            )

    def _owner(self) -> tuple[int, str]:
        """Process and host that the file names, `(0, "")` if it names none."""
        try:
            owner = json.loads(os.pread(self._handle, 4096, 0))
            return int(owner["pid"]), str(owner["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _is_there(self) -> bool:
        """Whether the open file is still the one in the folder."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
