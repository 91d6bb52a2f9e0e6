"""A screen as CSV and JSON. `COLUMNS` describes the columns; layers and heads are 1-based."""

import json
from collections.abc import Iterable
from pathlib import Path

from prune.io.csv import write_csv
from prune.io.files import write_atomically
from prune.trace.screening import Screening

COLUMNS = {
    "pathway": "what is removed",
    "layer": "centre of the window of layers; in heads.csv the only layer",
    "head": "KV head",
    "rank": "1 is the strongest by the screen",
    "predicted_change": "mean change of the answer's log-probability, to first order, in nats",
    "predicted_strength": "mean size of that change over samples",
    "exact_change": "the same by exact knockout; empty where none was run",
    "exact_strength": "mean size of that change over samples",
    "missed": "1 if among the strongest by exact knockout, but not by the screen",
}


def write_screen(found: Screening, run: Path) -> None:
    """Write `screen.csv` (every candidate), `heads.csv` (every KV head) and `screen.json`."""
    missed = found.missed()
    columns = [name for name in COLUMNS if name != "head"]
    write_csv(run / "screen.csv", columns, (
        [candidate.pathway, candidate.layer + 1, rank, *_digits(found.predicted[rank - 1]),
         *_digits(found.exact[rank - 1]), int(candidate in missed)]
        for rank, candidate in enumerate(found.candidates, 1)
    ))  # fmt: skip
    write_csv(run / "heads.csv", ["pathway", "layer", "head", "predicted_strength"], (
        [pathway, layer, head, *_digits([strength])]
        for pathway, layers in zip(found.header["pathways"], found.heads, strict=True)
        for layer, heads in enumerate(layers, 1)
        for head, strength in enumerate(heads, 1)
    ))  # fmt: skip
    report = {
        **found.header,
        "columns": COLUMNS,
        "counts": found.counts,
        "failed": found.failed,
        "candidates": len(found.candidates),
        "verified": int(found.verified.sum()),
        "spearman": found.correlation(),
        "top": found.top,
        "missed": [[candidate.pathway, candidate.layer + 1] for candidate in missed],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(run / "screen.json", text)


def _digits(values: Iterable[float]) -> list[str]:
    return ["" if value != value else f"{value:.6g}" for value in values]
