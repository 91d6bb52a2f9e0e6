"""The files of an exhibit: figures with their curves as CSV and JSON, and tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from prune.io.csv import write_csv
from prune.io.files import write_atomically
from prune.report.figures.flow import write_flow
from prune.results.flow_map import Flow

CURVES = ("of", "panel", "curve", "n", "layer", "mean", "low", "high")


def write_flows(out: Path, name: str, flows: Mapping[str, Flow]) -> None:
    """Draw flows into one figure, and write their curves as `name.csv` and `name.json`."""
    write_flow(out, flows, name)
    rows = [
        (key, panel.title, curve.label, curve.n, layer + 1, mean,
         curve.low[layer] if curve.low else "", curve.high[layer] if curve.high else "")
        for key, flow in flows.items()
        for panel in flow.panels
        for curve in panel.curves
        for layer, mean in enumerate(curve.mean)
    ]  # fmt: skip
    write_csv(out / f"{name}.csv", CURVES, rows)
    content = {key: asdict(flow) for key, flow in flows.items()}
    write_atomically(out / f"{name}.json", json.dumps(content, ensure_ascii=False) + "\n")


def write_rows(out: Path, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table as `name.csv` and, an object for each row, `name.json`."""
    write_csv(out / f"{name}.csv", columns, rows)
    content = [dict(zip(columns, row, strict=True)) for row in rows]
    write_atomically(out / f"{name}.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
