"""The manifest of an export: SHA-256 and size of every file in it."""

import json
from pathlib import Path

from prune.errors import BadInputError, VerificationError
from prune.files import sha256_of_each, write_atomically
from prune.untrusted import read_json

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


def write_manifest(folder: Path) -> None:
    """Hash every file in `folder` into its `manifest.json`."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    hashes = zip(paths, sha256_of_each(paths), strict=True)
    files = {p.name: {"sha256": digest, "bytes": p.stat().st_size} for p, digest in hashes}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "files": files}, indent=2)
    write_atomically(folder / MANIFEST, text + "\n")


def verify(folder: Path) -> int:
    """Compare every file with the manifest and return how many there are.

    Raises:
        BadInputError: there is no readable manifest.
        VerificationError: files are damaged, missing or unknown; all are named.
    """
    content = read_json(folder / MANIFEST, "a manifest")
    try:
        files = content["files"]
        expected = {str(name): str(entry["sha256"]) for name, entry in files.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{folder / MANIFEST}: not a manifest: {error!r}") from None
    if any(Path(name).name != name for name in expected):
        raise BadInputError(f"{folder / MANIFEST}: names a file outside the folder")
    there = [name for name in sorted(expected) if (folder / name).is_file()]
    found = dict(zip(there, sha256_of_each([folder / name for name in there]), strict=True))
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is damaged" for name in found if found[name] != expected[name]]
    known = {*expected, MANIFEST}
    wrong += [f"{p.name} is unknown" for p in sorted(folder.iterdir()) if p.name not in known]
    if wrong:
        raise VerificationError(f"{folder}: {'; '.join(wrong)}")
    return len(expected)
