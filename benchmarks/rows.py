"""Result rows: one CSV a script and device."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from prune.evaluate.stats import mean_of
from prune.results.interval import Interval

RESULTS = Path(os.environ.get("PRUNE_RESULTS") or Path(__file__).parent / "results")


def append(question: str, device: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Append rows of equal columns to `results/<question>_<device>.csv`."""
    path = RESULTS / f"{question}_{device.lower().replace(' ', '-')}.csv"
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file, none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def interval(text: str) -> Interval:
    """A value with its interval, as rows have it: `-0.2 [-0.7, 0.4]`."""
    return Interval(*map(float, re.findall(r"-?[\d.]+", text)))


def ends(values: Sequence[float]) -> str:
    """The 95% interval of a mean over clips; empty with too few of them."""
    mean = mean_of(values)
    return "" if mean.low is None else f"[{mean.low:.4f}, {mean.high:.4f}]"


def show(row: Mapping[str, object]) -> None:
    """Print a row without its conditions."""
    print(*(f"{k}={v}" for k, v in list(row.items())[6:]), flush=True)
