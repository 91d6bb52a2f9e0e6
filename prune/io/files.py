"""Files and folders, written whole or not at all, and their hashes."""

import ctypes
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` beside `path`, flush it to disk and rename it into place.

    After an exception or a kill `path` is as it was; what a killed process left is cleared.
    """
    stage = stage_beside(path, "tmp")
    try:
        with open(stage, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(stage, path)
    finally:
        stage.unlink(missing_ok=True)


def stage_beside(target: Path, ending: str) -> Path:
    """A hidden place beside `target` to build it in; what dead processes left there is cleared."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.{ending}"):
        process = left.name.split(".")[-2]
        if process.isdigit() and not Path("/proc", process).exists():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{os.getpid()}.{ending}")


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_each(paths: Sequence[Path]) -> list[str]:
    """Hash of every file, several at a time."""
    # Hashing leaves the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(sha256_of, paths))


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def names_in(folder: Path) -> list[str]:
    """The files of a folder and its sub-folders as sorted relative names, such as `a/b.json`.

    Whatever is hidden is left out: a clone's `.git`, a download's `.cache`. Links to folders are
    named and not followed.
    """
    found = []
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if Path(where, name).is_symlink()]
        names = [name for name in (*files, *links) if not name.startswith(".")]
        found += [Path(where, name).relative_to(folder).as_posix() for name in names]
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def safe_name(text: str, reserved: Collection[str] = ()) -> str:
    """A file name for any text, such as a sample's id: letters, digits, dots and dashes.

    Texts that differ have names that differ, and none of them is `reserved`: a hash distinguishes
    what the name does not.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip(".-")[:120]
    if name == text and name not in reserved:
        return name
    return f"{name or 'unnamed'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place, flushed to the disk, after the block.

    After an exception or a kill `target` is as it was; what a killed process left is cleared.
    """
    stage = stage_beside(target.absolute(), "stage")
    parent = stage.parent
    try:
        stage.mkdir()
        yield stage
        for path in [*stage.rglob("*"), stage]:
            sync(path)
        put_in_place(stage, target)
        sync(parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def put_in_place(stage: Path, target: Path) -> None:
    """Rename a finished folder to `target`; one that stands there is then at `stage`.

    The exchange is one step where the file system can, so a kill leaves one of the two whole.
    """
    if not target.exists():
        os.rename(stage, target)
    elif not _exchange(stage, target):
        old = stage.with_suffix(".old")
        os.rename(target, old)
        os.rename(stage, target)
        os.rename(old, stage)


def _exchange(a: Path, b: Path) -> bool:
    """Linux's `renameat2` with `RENAME_EXCHANGE`; whether it could be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2
    return renameat2 is not None and not renameat2(
        here, os.fsencode(a), here, os.fsencode(b), exchange
    )
