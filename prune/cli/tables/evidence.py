"""Tables of explanations, corrections and audits for the terminal."""

from typing import Any

from rich.table import Table

from prune.results.audit_findings import MEASURES
from prune.results.existence import Existence
from prune.results.interval import Mean
from prune.results.treatment import WITHIN, Treatment


def scores_table(found: dict[str, Any]) -> Table:
    """Scores by task: mean and its 95% interval, if there are enough videos for one."""
    names = ["insertion_auc", "deletion_auc", "highest_confidence"]
    names += [name for name in ("point_game",) if name in found["scores"]["all"]]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("task", "n", *(name.replace("_", " ") for name in names)):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, row in found["scores"].items():
        cells = [_interval(row.get(name)) for name in names]
        table.add_row(task.replace("_", " "), str(row["n"]), *cells)
    return table


def _interval(mean: dict[str, Any] | None) -> str:
    if mean is None:
        return "-"
    known = mean["low"] is not None
    return f"{mean['mean']:.3f}" + (f" [{mean['low']:.3f}, {mean['high']:.3f}]" if known else "")


def summary_lines(found: dict[str, Any]) -> dict[str, str]:
    """What else a summary says, by the first word of the line."""
    lines = {"Forwards": f"{found['forwards']} in {found['seconds']:.1f} s"}
    if found["other_words"]:
        lines["Warning"] = (
            f"{len(found['other_words'])} of {found['explained']} answers are in other "
            "words: all options' letters together have less than 10% of the probability, and "
            f"their order says little (first {found['other_words'][0]}): give another --cue, or "
            "ask without options"
        )
    if (hit := found["scores"]["all"].get("point_game")) is not None:
        inside, chance = (
            100 * found["scores"]["all"][name]["mean"]
            for name in ("leading_in_boxes", "boxes_area")
        )
        lines["Objects"] = (
            f"of {hit['n']} explanations whose question or answer names a known object, "
            f"{100 * hit['mean']:.1f}% have the map's maximum in its boxes (Point Game); they hold "
            f"{inside:.1f}% of the leading tenth, and cover {chance:.1f}% of the {hit['n']} clips"
        )
    if "correction" in found:
        c = found["correction"]
        lines["Correction"] = (
            f"{c['samples']} incorrect answers: on average {100 * c['amcr']:.1f}% of the clip has "
            f"to go (AMCR); {100 * c['csr_10']:.1f}% are corrected within 10% (CSR@10%)"
        )
    return lines


def treatment_line(found: Treatment) -> str:
    """The effect of removing a tenth of the clip on all answers alike."""
    step = found.gone.index(WITHIN)
    parts = [
        f"{rows[step].value:.1f}% of {count} {turn}"
        for rows, count, turn in (
            (found.mended, found.wrong, "incorrect answers become correct"),
            (found.broken, found.right, "correct answers become incorrect"),
        )
        if rows
    ]
    before, after = found.accuracy[0].value, found.accuracy[step].value
    return (
        f"without the {100 * WITHIN:.0f}% of the clip that speaks most for each answer "
        f"{' and '.join(parts)}: accuracy {before:.1f}% to {after:.1f}%"
    )


def audit_table(
    found: dict[str, Mean],
    accuracy: dict[str, dict[str, float]],
    seen: Existence | None,
) -> Table:
    """Every mean with its 95% interval by video, if there are enough videos for one."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("", "n", "videos", "mean", "95%"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in found.items():
        label = MEASURES.get(name, f"change of {name}")
        table.add_row(
            label,
            str(row.n),
            str(row.videos),
            f"{row.mean:+.3f}",
            "too few videos" if row.low is None else f"[{row.low:+.3f}, {row.high:+.3f}]",
        )
    change = accuracy["change"]
    table.add_row(
        "change of accuracy (points)", str(int(accuracy["n"]["value"])),
        str(int(accuracy["videos"]["value"])), f"{change['value']:+.1f}",
        f"[{change['low']:+.1f}, {change['high']:+.1f}]",
    )  # fmt: skip
    if seen:
        table.add_row(
            "change of hallucination (points)", str(seen.absent), str(seen.videos),
            f"{seen.change.value:+.1f}",
            f"[{seen.change.low:+.1f}, {seen.change.high:+.1f}]",
        )  # fmt: skip
        table.add_row(
            "yes-bias, dense and pruned (points)", str(seen.questions), "",
            f"{seen.yes_bias_before:+.1f}", f"{seen.yes_bias_after:+.1f}",
        )  # fmt: skip
    return table
