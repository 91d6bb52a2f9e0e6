"""The JSON schema of a plan: closed, strict, and small enough to edit by hand."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from prune.errors import BadInputError, RefusedError
from prune.io.closed import ClosedModel, first_problem
from prune.io.untrusted import read_json
from prune.layout.reach import OTHER_FRAMES
from prune.plan.model_id import ModelId

SCHEMA_VERSION = 1
MAX_BYTES = 4 * 2**20

RoleName = Literal["system", "video", "timestamp", "bridge", "question", "options", "tail", "last"]
FrozenName = Literal["system", "video", "timestamp", "bridge", "question", "options", "tail"]
MOST_FRAMES = 1_000_000
_OTHER = r"^other frames(, [1-9]\d{0,5} back)?$"
_RANGES = re.compile(r"\d{1,4}(-\d{1,4})?(, \d{1,4}(-\d{1,4})?)*")


def ranges_of(numbers: list[int]) -> str:
    """`[0, 1, 2, 5]` as `0-2, 5`."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _numbers(ranges: str) -> list[int]:
    """`0-2, 5` as `[0, 1, 2, 5]`."""
    numbers: list[int] = []
    for part in ranges.split(", "):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _checked_ranges(value: str | None) -> str | None:
    """Ranges as they are; raises `ValueError` if they are none."""
    if value is None:
        return value
    if not _RANGES.fullmatch(value):
        raise ValueError(f"expected ranges such as '0-4, 8', got {value!r}")
    numbers = _numbers(value)
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError(f"{value!r} is empty, unsorted or names a number twice")
    return value


_NAMED = {-1: "none", 0: "same frame", OTHER_FRAMES: "other frames"}


def _reach_in_words(limit: int) -> Any:
    """A reach as a rule writes it."""
    return _NAMED.get(limit) or (limit if limit > 0 else f"other frames, {~limit} back")


class Rule(ClosedModel):
    """In `layers` (0-based), `queries` read `keys` only within `reach`.

    `reach` is `"none"`, `"same frame"`, a number of frames back, or `"other frames"`, all but the
    token's own, which may also have a number, as `"other frames, 3 back"`. Later rules win.
    """

    layers: str
    kv_heads: str | None = None
    queries: Annotated[list[RoleName], Field(min_length=1)]
    keys: Annotated[list[RoleName], Field(min_length=1)]
    reach: (
        Literal["none", "same frame"]
        | Annotated[str, Field(pattern=_OTHER)]
        | Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    )

    _is_ranges = field_validator("layers", "kv_heads")(_checked_ranges)

    @staticmethod
    def build(
        layers: list[int],
        kv_heads: list[int] | None,
        queries: list[Any],
        keys: list[Any],
        limit: int,
    ) -> "Rule":
        """A rule from numbers."""
        return Rule(
            layers=ranges_of(layers),
            kv_heads=None if kv_heads is None else ranges_of(kv_heads),
            queries=queries,
            keys=keys,
            reach=_reach_in_words(limit),
        )

    @property
    def limit(self) -> int:
        """`reach` as a number."""
        if isinstance(self.reach, int):
            return self.reach
        named = {word: limit for limit, word in _NAMED.items()}
        return named[self.reach] if self.reach in named else ~int(self.reach.split()[2])

    def layer_list(self) -> list[int]:
        """`layers` as numbers."""
        return _numbers(self.layers)

    def head_list(self, num_heads: int) -> list[int]:
        """`kv_heads` as numbers; all of them where the rule names none."""
        return list(range(num_heads)) if self.kv_heads is None else _numbers(self.kv_heads)


class Frozen(ClosedModel):
    """In `layers` (0-based), the states of `roles` stay as they are; their keys may be read."""

    layers: str
    roles: Annotated[list[FrozenName], Field(min_length=1)]

    _is_ranges = field_validator("layers")(_checked_ranges)

    @staticmethod
    def build(layers: list[int], roles: list[Any]) -> "Frozen":
        """An entry from numbers."""
        return Frozen(layers=ranges_of(layers), roles=roles)

    def layer_list(self) -> list[int]:
        """`layers` as numbers."""
        return _numbers(self.layers)


class PlanFile(ClosedModel):
    """The whole file."""

    schema_version: int
    name: Annotated[str, Field(max_length=200)]
    model: ModelId
    origin: Annotated[dict[str, str | int | float], Field(max_length=64)] = Field(
        default_factory=dict
    )
    frozen: Annotated[list[Frozen], Field(max_length=1000)] | None = None
    rules: Annotated[list[Rule], Field(max_length=20_000)]


def parse_plan(path: Path) -> PlanFile:
    """Read and validate a plan file.

    Raises:
        BadInputError: it cannot be read, is not JSON, or a field is unknown or wrong.
        RefusedError: it was written by a newer prune.
    """
    data = read_json(path, "a plan", MAX_BYTES)
    if not isinstance(data, dict):
        raise BadInputError(f"{path}: not a plan: expected a JSON object")
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RefusedError(
            f"{path}: plan schema {version} is newer than {SCHEMA_VERSION}: upgrade prune"
        )
    if version != SCHEMA_VERSION:
        raise BadInputError(f"{path}: /schema_version: expected {SCHEMA_VERSION}, got {version!r}")
    try:
        return PlanFile.model_validate(data)
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_problem(error)}") from None
