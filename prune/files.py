"""Writing files whole or not at all, and hashing them."""

import hashlib
import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path`, flush it to disk and rename it into place."""
    stage = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(stage, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(stage, path)
    finally:
        stage.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
