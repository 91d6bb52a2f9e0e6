"""Tables 2 and 3 of a reproduction (Map the Flow, 2510.13251), from its records."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune.evaluate.stats import mcnemar, mean_of, paired_difference
from prune.results.interval import Interval, Mean
from prune.trace.metrics import METRICS
from prune.trace.trace import Trace
from prune.workflows.reproduce_sample import CROSS_FRAME

HALF = (
    "model", "task", "n", "probability (%)", "accuracy, options (points)",
    "accuracy, vocabulary (points)",
)  # fmt: skip
EFFECTIVE = (
    "condition", "edges (%)", "accuracy, options (%)", "accuracy, vocabulary (%)",
    "mean over tasks, vocabulary (%)", "difference, vocabulary (points)", "p",
)  # fmt: skip


def half_rows(traces: Mapping[str, Trace]) -> list[list[str]]:
    """A row for each task of each side, and one for all tasks: what one knockout changes.

    Args:
        traces: of the single knockout, by side (`tuned`, `base`).
    """
    rows = []
    for side, trace in traces.items():
        name = trace.model.name + (" (base)" if side == "base" else "")
        groups: dict[str, list[dict[str, Any]]] = {}
        for case in trace.traced:
            groups.setdefault(case["task"].replace("_", " "), []).append(case)
        groups = {**dict(sorted(groups.items())), "all": trace.traced}
        for task, cases in groups.items():
            videos = [case["video"] for case in cases]
            measured = [
                mean_of(
                    [float(METRICS[name].of(case, CROSS_FRAME[0])[0]) for case in cases], videos
                )
                for name in ("change_answer", "accuracy", "free_accuracy")
            ]
            rows.append([name, task, str(len(cases)), *map(_mean, measured)])
    return rows


def effective_rows(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each condition: draws of a control are one, with the mean of its answers."""
    videos = [record["video"] for record in records]
    tasks = np.array([record["task"] for record in records])
    groups: dict[str, list[str]] = {}
    for name in records[0]["plans"]:
        groups.setdefault(name.split("/")[0], []).append(name)
    full = np.array([float(record["plans"]["full"]["free"]) for record in records])
    rows = []
    for title, names in groups.items():
        free, right, share = (np.zeros(len(records)) for _ in range(3))
        for index, record in enumerate(records):
            given = [record["plans"][name] for name in names]
            free[index] = np.mean([one["free"] for one in given])
            right[index] = np.mean([one["choice"] == record["lens"]["true"] for one in given])
            share[index] = np.mean([one["kept"] for one in given]) / record["causal"]
        by_task = np.mean([free[tasks == task].mean() for task in np.unique(tasks)])
        difference = paired_difference(full.tolist(), free.tolist(), videos)
        alone = len(names) == 1 and title != "full"
        chance = mcnemar(full.astype(bool).tolist(), free.astype(bool).tolist(), videos)
        rows.append(
            [f"{title} ({len(names)} draws)" if len(names) > 1 else title,
             f"{100 * share.mean():.1f}", f"{100 * right.mean():.1f}", f"{100 * free.mean():.1f}",
             f"{100 * by_task:.1f}", "" if title == "full" else _interval(difference),
             f"{chance:.2g}" if alone else ""]
        )  # fmt: skip
    return rows


def _mean(value: Mean) -> str:
    if value.low is None or value.high is None:
        return f"{value.mean:+.1f}"
    return f"{value.mean:+.1f} [{value.low:+.1f}, {value.high:+.1f}]"


def _interval(value: Interval) -> str:
    return f"{value.value:+.1f} [{value.low:+.1f}, {value.high:+.1f}]"
