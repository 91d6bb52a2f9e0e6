"""The object that `--json` prints: one schema for every command that has results."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from prune import __version__

SCHEMA_VERSION = 1

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and no tables.")
]


def print_json(command: str, **content: Any) -> None:
    """Print the object of a command; numbers that JSON lacks are null.

    Args:
        command: the command's name.
        content: dataclasses, paths and plain values by name (docs/commands.md lists them).
    """
    head = {"schema_version": SCHEMA_VERSION, "prune": __version__, "command": command}
    print(json.dumps(_plain({**head, **content}), allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
