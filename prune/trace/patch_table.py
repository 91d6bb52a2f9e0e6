"""Curves and tables of activation patching: `patch.csv`, `patch.json` and the flow of its figure.

The columns are described in `docs/patching.md`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.evaluate.stats import bootstrap_band
from prune.io.files import write_atomically
from prune.results.flow_map import Curve, Flow, Panel
from prune.trace.curves_csv import curves_csv
from prune.trace.patch_choices import Site
from prune.trace.patch_run import SCHEMA_VERSION, PatchRun

Case = dict[str, Any]
Measures = dict[str, Any]

COLUMNS = ("site", "roles", "task", "head", "metric", "n", "layer", "mean", "low", "high")

WHOLE = "whole"
"""The site of rows in which everything is replaced: the run that gives."""


def _points(name: str) -> Callable[[Case, Measures], NDArray[np.float64]]:
    return lambda case, found: 100 * (np.array(found[name], float) - case[name])


def _plain(name: str) -> Callable[[Case, Measures], NDArray[np.float64]]:
    return lambda case, found: np.array(found[name], float)


def _accuracy(case: Case, found: Measures) -> NDArray[np.float64]:
    after = np.array(found["choice"]) == case["true"]
    change: NDArray[np.float64] = 100.0 * (after.astype(float) - (case["choice"] == case["true"]))
    return change


METRICS: dict[str, tuple[str, Callable[[Case, Measures], NDArray[np.float64]]]] = {
    "p_answer": ("change of the answer's probability (points)", _points("p_answer")),
    "dlogp_answer": ("change of the answer's log-probability (nats)", _plain("dlogp_answer")),
    "p_true": ("change of the true option's probability (points)", _points("p_true")),
    "dlogp_true": ("change of the true option's log-probability (nats)", _plain("dlogp_true")),
    "kl": ("KL divergence from the run without a patch (nats)", _plain("kl")),
    "accuracy": ("change of accuracy over the options (points)", _accuracy),
}
"""By name the quantity, and from a case and its measures to the values."""

METRIC = "p_answer"
"""That of figures."""


def table(run: PatchRun) -> list[dict[str, Any]]:
    """A curve for every site, roles, task, head and metric.

    Its keys are `COLUMNS` without `layer`; `mean`, `low` and `high` have one item per window, those
    of `WHOLE` one item.
    """
    groups = {"": run.cases}
    for task in sorted({case["task"] for case in run.cases}):
        groups[task] = [case for case in run.cases if case["task"] == task]
    return [curve for task, cases in groups.items() for curve in _curves(run, task, cases)]


def _curves(run: PatchRun, task: str, cases: list[Case]) -> list[dict[str, Any]]:
    kinds = [(WHOLE, "")]
    kinds += [(site, roles) for site in run.header["sites"] for roles in run.header["roles"]]
    wanted = [(*kind, metric) for kind in kinds for metric in METRICS]

    def values(case: Case, site: str, roles: str, metric: str) -> NDArray[np.float64]:
        found = case["total"] if site == WHOLE else case["patches"][site][roles]
        of = METRICS[metric][1](case, found)
        return of.reshape(len(of), -1).T

    each = [[values(case, *kind) for kind in wanted] for case in cases]
    shapes = [found.shape for found in each[0]]
    # One bootstrap for all of them: the same videos are drawn for each.
    flat = np.array([np.concatenate([found.ravel() for found in row]) for row in each])
    bands = bootstrap_band(flat, [case["video"] for case in cases])
    edges = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    parts = [np.split(np.round(band, 6), edges) for band in bands]
    curves = []
    for index, ((site, roles, metric), shape) in enumerate(zip(wanted, shapes, strict=True)):
        mean, low, high = (part[index].reshape(shape) for part in parts)
        for head in range(shape[0]):
            curves.append({
                "site": site, "roles": roles, "task": task,
                "head": head + 1 if site == Site.HEADS else "", "metric": metric, "n": len(cases),
                "mean": mean[head].tolist(), "low": _known(low[head]), "high": _known(high[head]),
            })  # fmt: skip
    return curves


def _known(ends: NDArray[np.float64]) -> list[float | None]:
    """Ends of bands; None where there are too few videos for one."""
    return [None if np.isnan(end) else float(end) for end in ends]


def flows(run: PatchRun, curves: list[dict[str, Any]]) -> dict[str, Flow]:
    """What is drawn, by the name of its file: `patch` of whole layers, `patch-heads` of heads.

    Args:
        run: what was patched.
        curves: its `table`.
    """
    shown = [c for c in curves if c["metric"] == METRIC and not c["task"]]
    (total,) = (c for c in shown if c["site"] == WHOLE)
    layers = len(next(c for c in shown if c["site"] != WHOLE)["mean"])
    everything = {**total, **{end: total[end] * layers for end in ("mean", "low", "high")}}
    sites = [site for site in run.header["sites"] if site != Site.HEADS]
    whole = _curve("the whole run", everything)
    found = {}
    if sites:
        panels = tuple(
            Panel(site, (*(_curve(c["roles"], c) for c in shown if c["site"] == site), whole))
            for site in sites
        )
        found["patch"] = _flow(run, panels, "layers")
    if Site.HEADS in run.header["sites"]:
        panels = tuple(
            Panel(
                f"heads at {roles}",
                tuple(
                    _curve(f"head {c['head']}", c)
                    for c in shown
                    if c["site"] == Site.HEADS and c["roles"] == roles
                ),
            )
            for roles in run.header["roles"]
        )
        found["patch-heads"] = _flow(run, panels, "heads")
    return found


def _curve(label: str, row: dict[str, Any]) -> Curve:
    low, high = (() if None in row[end] else tuple(row[end]) for end in ("low", "high"))
    return Curve(label, tuple(row["mean"]), low, high, row["n"])


def _flow(run: PatchRun, panels: tuple[Panel, ...], form: Any) -> Flow:
    other = f"the {run.header['corruption']} clip"
    given, base = ("its own clip", other) if run.header["restore"] else (other, "its own clip")
    return Flow(
        panels=panels,
        counts=run.counts(),
        quantity=METRICS[METRIC][0],
        sweep=f"window {run.header['window']}",
        step="layer (centre of the window)",
        which=f"{run.header['which']} answers",
        form=form,
        method=f"activations of {given} patched into the run of {base}",
    )


def write_tables(run: PatchRun, curves: list[dict[str, Any]], folder: Path) -> None:
    """Write `patch.csv`, a row per patch, and `patch.json`, an object per curve, to `folder`."""

    def at(curve: Mapping[str, Any], layer: int) -> Any:
        return "" if curve["site"] == WHOLE else layer

    write_atomically(folder / "patch.csv", curves_csv(COLUMNS, curves, at))
    described = {name: run.header[name] for name in (
        "model", "data_sha256", "which", "corruption", "restore", "window", "num_frames", "dtype",
    )}  # fmt: skip
    content = {
        "schema_version": SCHEMA_VERSION,
        **described,
        "counts": run.counts(),
        "failed": run.failed,
        "curves": curves,
    }
    write_atomically(
        folder / "patch.json", json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"
    )
