"""The manifest of an export: SHA-256 and size of every file in it."""

import json
from collections.abc import Callable
from pathlib import Path

from prune.errors import BadInputError, VerificationError
from prune.files import sha256_of, write_atomically

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def write_manifest(folder: Path) -> None:
    """Hash every file in `folder` into its `manifest.json`."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    files = {p.name: {"sha256": sha256_of(p), "bytes": p.stat().st_size} for p in paths}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "files": files}, indent=2)
    write_atomically(folder / MANIFEST, text + "\n")


def verify(folder: Path, on_done: Callable[[int], None] = lambda n: None) -> int:
    """Compare every file with the manifest and return how many there are.

    Raises:
        BadInputError: there is no readable manifest.
        VerificationError: files are damaged, missing or unknown; all are named.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        expected = {str(name): str(entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{folder}: no readable {MANIFEST}: {error}") from None
    if any(Path(name).name != name for name in expected):
        raise BadInputError(f"{folder / MANIFEST}: names a file outside the folder")
    wrong = []
    for name, digest in sorted(expected.items()):
        if not (folder / name).is_file():
            wrong.append(f"{name} is missing")
        elif sha256_of(folder / name) != digest:
            wrong.append(f"{name} is damaged")
        on_done(1)
    known = {*expected, MANIFEST}
    wrong += [f"{p.name} is unknown" for p in sorted(folder.iterdir()) if p.name not in known]
    if wrong:
        raise VerificationError(f"{folder}: {'; '.join(wrong)}")
    return len(expected)
