"""The transfer matrix as data: the effect of each plan under each condition."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from prune.io.files import write_atomically
from prune.results.interval import Interval


@dataclass(frozen=True)
class Cell:
    """A plan under a condition: accuracy of the dense model, and the plan's difference to it."""

    found_on: str
    used_on: str
    n: int
    dense: float
    difference: Interval


@dataclass(frozen=True)
class Transfer:
    """The matrix.

    Attributes:
        flops: of each plan, as a share of the dense model's, by the task it was found on.
        cells: one for every plan and condition.
    """

    flops: dict[str, float]
    cells: tuple[Cell, ...]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")
