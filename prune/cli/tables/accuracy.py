"""Tables of accuracy for the terminal: one model, or two compared."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from prune.evaluate.stats import proportion
from prune.inputs.samples import ALL_TASKS
from prune.results.accuracy import AccuracyReport
from prune.results.answer import Answer


def accuracy_table(answers: Sequence[Answer]) -> Table:
    """Accuracy by task, restricted to the options and over the whole vocabulary."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("task", "n", "accuracy", "95%", "free"):
        table.add_column(column, justify="left" if column == "task" else "right")
    tasks = sorted({a.task for a in answers})
    parts = [(task, [a for a in answers if a.task == task]) for task in tasks]
    for task, rows in (*parts, (ALL_TASKS, answers)):
        share = proportion([a.correct for a in rows], [a.video for a in rows])
        free = 100 * sum(a.free_correct for a in rows) / len(rows)
        table.add_row(
            task.replace("_", " "), str(len(rows)), f"{share.value:.1f}",
            f"[{share.low:.1f}, {share.high:.1f}]", f"{free:.1f}",
        )  # fmt: skip
    return table


def accuracy_facts(answers: Sequence[Answer], report: AccuracyReport | None) -> dict[str, Any]:
    """What the tables show, as plain values for `--json`; rows by task, the one of all last."""
    if report is not None:
        return {
            "accuracy": [asdict(row) for row in (*report.tasks, report.overall)],
            "flipped": len(report.flipped),
            "p_value": report.p_value,
        }
    tasks = sorted({a.task for a in answers})
    parts = [(task, [a for a in answers if a.task == task]) for task in tasks]
    rows = [
        {
            "task": task,
            "n": len(part),
            "videos": len({a.video for a in part}),
            "accuracy": asdict(proportion([a.correct for a in part], [a.video for a in part])),
            "free": 100 * sum(a.free_correct for a in part) / len(part),
        }
        for task, part in (*parts, (ALL_TASKS, answers))
        if part
    ]
    return {"accuracy": rows}


def comparison_table(report: AccuracyReport) -> Table:
    """Two models on the same samples, by task, with the paired difference and its interval."""
    table = Table(
        title=f"{len(report.flipped)} answers differ, to questions about {report.overall.videos} "
        f"videos; exact McNemar test by video: p = {report.p_value:.3g}",
        title_justify="left", box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in ("task", "n", "against", "this model", "difference [95%]"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for row in (*report.tasks, report.overall):
        change = row.difference
        table.add_row(
            row.task.replace("_", " "), str(row.n), f"{row.dense.value:.1f}",
            f"{row.pruned.value:.1f}",
            f"{change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}]",
        )  # fmt: skip
    return table
