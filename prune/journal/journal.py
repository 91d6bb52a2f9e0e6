"""An append-only journal: one checked line per record, safe against a kill at any moment.

A line is the CRC-32 of the record's JSON, a space, and the JSON. It is written by one call and
flushed to disk; a line that a kill left unfinished is cut off when the journal is opened again.
"""

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any

from prune.errors import BadInputError, RefusedError, ResourceError
from prune.io.bounded import read_bounded
from prune.io.files import write_atomically
from prune.io.strict_json import parse_json

HEADER, JOURNAL = "header.json", "journal.jsonl"
MAX_BYTES = 64 * 2**30
"""Larger journals are not read."""


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> dict[str, Any] | None:
    crc, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def differing(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """The fields in which two headers differ, sorted; those of objects inside by dotted name."""
    fields = []
    for key in sorted({**one, **other}):
        here, there = one.get(key), other.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            fields += differing(here, there, f"{prefix}{key}.")
        elif here != there:
            fields.append(prefix + key)
    return fields


def read_journal(folder: Path, what: str) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Read a journal up to its last whole line.

    Args:
        folder: the journal's.
        what: what it should be, for messages: "trace", "audit", ...

    Returns:
        The header, the records, and the length in bytes of the part that is whole.

    Raises:
        BadInputError: there is no journal, a line before the last is damaged, or a sample is
            recorded twice.
    """
    try:
        header = parse_json(read_bounded(folder / HEADER))
        there = (folder / JOURNAL).exists()
        data = read_bounded(folder / JOURNAL, MAX_BYTES) if there else b""
    except (OSError, ValueError) as error:
        raise BadInputError(f"{folder}: holds no {what}: {error}") from None
    if not isinstance(header, dict):
        raise BadInputError(f"{folder / HEADER}: not the header of a {what}")
    records, whole = [], 0
    first: dict[str, int] = {}
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        record = _parse(line)
        if record is None:
            if number < len(lines):
                raise BadInputError(
                    f"{folder / JOURNAL}:{number}: the line is damaged (checksum); "
                    "run the command again with a new --out"
                )
            break
        name = str(record.get("id", number))
        if name in first:
            raise BadInputError(
                f"{folder / JOURNAL}:{number}: sample {name!r} is in line {first[name]} too: two "
                "processes wrote here; run the command again with a new --out"
            )
        first[name] = number
        records.append(record)
        whole += len(line)
    return header, records, whole


class Journal:
    """A journal open for writing; use it as a context manager.

    Args:
        folder: made if missing.
        what: what the journal is, for messages: "trace", "audit", ...
        header: identity of the run. A journal already there is continued if its header is equal.

    Raises:
        RefusedError: the journal there has another header; the differing fields are named.
    """

    def __init__(self, folder: Path, what: str, header: dict[str, Any]):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / JOURNAL
        self.records: list[dict[str, Any]] = []
        if (folder / HEADER).exists():
            there, self.records, whole = read_journal(folder, what)
            if there != header:
                fields = differing(there, header)
                raise RefusedError(
                    f"{folder} holds another {what}: {', '.join(fields)} differ; choose a new --out"
                )
            if path.exists():
                os.truncate(path, whole)
        else:
            path.unlink(missing_ok=True)
            text = json.dumps(header, indent=2, ensure_ascii=False) + "\n"
            write_atomically(folder / HEADER, text)
        # Unbuffered: a record reaches the kernel in one write.
        self._file = open(path, "ab", buffering=0)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it is on the disk when this returns."""
        line = _line(record)
        try:
            # A disk that fills up takes a part of the line and reports no error.
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ResourceError(
                f"{self._file.name}: cannot write: {error.strerror}; finished samples are kept, "
                "run the same command again to resume"
            ) from None
        self.records.append(record)

    def close(self) -> None:
        """Close the file; what was appended is on the disk."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
