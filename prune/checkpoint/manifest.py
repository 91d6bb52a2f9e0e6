"""The manifest of an export: SHA-256 and size of every file in it, hidden ones aside."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import ValidationError

from prune.errors import BadInputError, VerificationError
from prune.io.closed import ClosedModel, first_problem
from prune.io.files import names_in, sha256_of_each, write_atomically
from prune.io.untrusted import read_json

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class Entry(ClosedModel):
    """SHA-256, in hexadecimal digits, and size of one file."""

    sha256: str
    bytes: int


class _Manifest(ClosedModel):
    schema_version: Literal[1]
    files: dict[str, Entry]


def write_manifest(folder: Path, unchanged: Mapping[str, Entry] | None = None) -> None:
    """Write the `manifest.json` of `folder`.

    Args:
        folder: whose files are hashed.
        unchanged: entries of files that need not be hashed, by name.
    """
    unchanged = unchanged or {}
    names = [name for name in names_in(folder) if name != MANIFEST]
    new = [name for name in names if name not in unchanged]
    hashes = zip(new, sha256_of_each([folder / name for name in new]), strict=True)
    found = {n: Entry(sha256=d, bytes=(folder / n).stat().st_size) for n, d in hashes}
    files = {name: (found.get(name) or unchanged[name]).model_dump() for name in names}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "files": files}, indent=2)
    write_atomically(folder / MANIFEST, text + "\n")


def verify(folder: Path) -> int:
    """Compare every file with the manifest and return how many there are.

    Raises:
        BadInputError: there is no readable manifest.
        VerificationError: files are damaged, missing or unknown; all are named.
    """
    expected = read_manifest(folder)
    names = names_in(folder)
    there = {
        name: folder / name for name in names if name in expected and (folder / name).is_file()
    }
    hashes = dict(zip(there, sha256_of_each(list(there.values())), strict=True))
    wrong = [f"{name} is missing" for name in expected if name not in there]
    for name, path in there.items():
        if Entry(sha256=hashes[name], bytes=path.stat().st_size) != expected[name]:
            wrong.append(f"{name} is damaged")
    known = {*expected, MANIFEST}
    wrong += [f"{name} is unknown" for name in names if name not in known]
    if wrong:
        raise VerificationError(f"{folder}: {'; '.join(wrong)}")
    return len(expected)


def read_manifest(folder: Path) -> dict[str, Entry]:
    """The entries of a folder's manifest by relative name, such as `a/b.json`.

    Raises:
        BadInputError: it is not one, or names a file outside the folder.
    """
    path = folder / MANIFEST
    content = read_json(path, "a manifest")
    try:
        manifest = _Manifest.model_validate(content)
    except ValidationError as error:
        raise BadInputError(f"{path}: not a manifest: {first_problem(error)}") from None
    if not all(_inside(name) for name in manifest.files):
        raise BadInputError(f"{path}: names a file outside the folder")
    return manifest.files


def _inside(name: str) -> bool:
    """Whether a relative name is in its plain form and stays in its folder."""
    path = PurePosixPath(name)
    return name == str(path) != "." and not path.is_absolute() and ".." not in path.parts
