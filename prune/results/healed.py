"""The accuracy of a plan before and after healing, and the file that keeps it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from prune.errors import BadInputError
from prune.io.closed import first_problem
from prune.io.files import write_atomically
from prune.io.untrusted import read_json
from prune.results.interval import Interval

SCHEMA_VERSION = 1
HEALED_FILE = "healed.json"
"""In the folder of a healed model: what healing did, and what it was made from."""

FRONT_FILE, FRONT_FIGURE = "healing.json", "healing.png"
"""All plans of one command."""


@dataclass(frozen=True)
class HealResult:
    """What healing did to a plan; accuracies are over the options on held-out samples, in percent.

    Attributes:
        plan: its name.
        n, videos: how many questions were asked, and about how many videos.
        flops: of the prefill, counted, as a share of the dense model's.
        dense: the model as it was.
        pruned: under the plan, before.
        healed: under the plan, after.
        difference: healed minus dense, in points, paired.
        p_value: exact McNemar test of that difference, by video.
        failed: the reason by id of each sample, to learn from or held out, that could not be used.
    """

    plan: str
    flops: float
    n: int
    videos: int
    dense: float
    pruned: float
    healed: float
    difference: Interval
    p_value: float
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HealedModel:
    """The content of `healed.json`.

    Attributes:
        made_from: identity of the model, plan, samples and settings.
        result: what healing did.
    """

    made_from: dict[str, Any]
    result: HealResult
    schema_version: int = SCHEMA_VERSION

    def save(self, folder: Path) -> None:
        """Write into a model folder, whole or not at all."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / HEALED_FILE, text + "\n")

    @staticmethod
    def load(folder: Path) -> "HealedModel":
        """Read what `save` wrote; raises `BadInputError` if it is not that."""
        path = folder / HEALED_FILE
        data = read_json(path, "the record of a healed model")
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
            raise BadInputError(
                f"{path}: not the record of a healed model of schema {SCHEMA_VERSION}: heal the "
                "model again into a new --out"
            )
        try:
            return TypeAdapter(HealedModel).validate_python(data)
        except ValidationError as error:
            raise BadInputError(
                f"{path}: not the record of a healed model: {first_problem(error)}"
            ) from None
