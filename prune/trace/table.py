"""Tables of a trace, `flow.csv` and `flow.json`, for every metric, pathway and group.

The columns are described in `docs/reading-a-flow-map.md`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evaluate.stats import bootstrap_band
from prune.io.files import write_atomically
from prune.trace.curves_csv import curves_csv
from prune.trace.flow import Case, paired
from prune.trace.leaks import open_ways
from prune.trace.metrics import INTERACTION, METRICS
from prune.trace.trace import Trace

SCHEMA_VERSION = 1

COLUMNS = (
    "pathway", "task", "anchor", "head", "metric", "n", "layer", "mean", "low", "high",
)  # fmt: skip


def write_table(trace: Trace, folder: Path) -> None:
    """Write `flow.csv`, a row per knockout, and `flow.json`, an object per curve, to `folder`."""
    curves = table(trace)
    write_atomically(folder / "flow.csv", curves_csv(COLUMNS, curves))
    described = {name: trace.header[name] for name in (
        "model", "data_sha256", "which", "asking", "style", "window", "num_frames", "dtype",
    )}  # fmt: skip
    content = {
        "schema_version": SCHEMA_VERSION,
        **described,
        "counts": trace.counts(),
        "failed": trace.failed,
        "windows": [[layer + 1 for layer in window] for window in trace.windows()],
        "open_ways": open_ways(trace.pathways(), trace.model.num_layers),
        "curves": curves,
    }
    write_atomically(
        folder / "flow.json", json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"
    )


def table(trace: Trace) -> list[dict[str, Any]]:
    """A curve for every pathway, group of cases, KV head and metric.

    Its keys are `COLUMNS` without `layer`; `mean`, `low` and `high` have one item per knockout.
    """
    cases = trace.traced
    groups: list[tuple[str, Any, list[Case]]] = [("", "", cases)]
    for task in sorted({case["task"] for case in cases}):
        groups.append((task, "", [case for case in cases if case["task"] == task]))
    if any("anchor" in case for case in cases):
        for number in sorted({case["number"] for case in cases}):
            groups.append(("", number, [case for case in cases if case["number"] == number]))
    return [curve for group in groups for curve in _curves(trace, *group)]


def _curves(trace: Trace, task: str, anchor: Any, cases: list[Case]) -> list[dict[str, Any]]:
    wanted = [
        (name, metric, pathway)
        for pathway in trace.pathways()
        for name, metric in METRICS.items()
        if all(map(metric.is_of, cases))
    ]
    wanted += [("interaction", INTERACTION, pathway) for pathway in paired(trace)]
    # One bootstrap for all of them: the same videos are drawn for each.
    values = np.array([[metric.of(case, p) for _, metric, p in wanted] for case in cases])
    bands = bootstrap_band(values.reshape(len(cases), -1), [case["video"] for case in cases])
    shape = (len(wanted), len(trace.windows()), len(trace.header["heads"]))
    mean, low, high = (np.round(band, 6).reshape(shape) for band in bands)
    return [
        {
            "pathway": pathway.name, "task": task, "anchor": anchor,
            "head": "" if head is None else head + 1, "metric": name, "n": len(cases),
            "mean": mean[i, :, k].tolist(), "low": _known(low[i, :, k]),
            "high": _known(high[i, :, k]),
        }
        for i, (name, _, pathway) in enumerate(wanted)
        for k, head in enumerate(trace.header["heads"])
    ]  # fmt: skip


def _known(ends: NDArray[np.float64]) -> list[float | None]:
    """Ends of bands; None where there are too few videos for one."""
    return [None if np.isnan(end) else float(end) for end in ends]
