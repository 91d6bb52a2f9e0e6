"""Reading of regular files up to a size: pipes, devices and endless files cannot hang a command."""

import errno
import os
import stat
from pathlib import Path

MIB, GIB = 2**20, 2**30


def read_bounded(path: Path, max_bytes: int = GIB) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be opened, is a pipe, device, folder or socket, or is larger than
            `max_bytes`; `strerror` says which.
    """
    # Without waiting: to open a pipe takes until somebody writes to it.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        about = os.fstat(handle)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "a pipe, device or socket, not a file", str(path))
        # Files under /proc say that they are empty.
        data = file.read(min(max_bytes, max(about.st_size, MIB)) + 1)
        if len(data) > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))
        return data
