"""Tables of replies to open questions for the terminal."""

from rich.table import Table

from prune.results.interval import Interval, Mean
from prune.results.replies import RepliesReport


def replies_tables(report: RepliesReport) -> list[Table]:
    """How well the pruned model follows replies, and how similar free replies are."""
    tables = [_forced(report)] if report.overall else []
    return [*tables, *([_free(report)] if report.free else []), _examples(report)]


def _forced(report: RepliesReport) -> Table:
    whose = "the dense model's own replies" if report.source == "own" else "the data's replies"
    table = _table(
        f"forced through {whose}, token by token",
        "task", "n", "tokens", "agreement, % [95%]", "KL, nats [95%]", "agreed prefix, %",
    )  # fmt: skip
    assert report.overall
    for row in (*report.tasks, report.overall):
        table.add_row(
            row.task.replace("_", " "), str(row.n), f"{row.tokens:.1f}", _shown(row.agreement, 1),
            _shown(row.kl, 3), f"{row.prefix.value:.1f}",
        )  # fmt: skip
    for step in report.drift:
        apart = f"{step.together.value:.1f}" if step.together else "-"
        table.add_row(
            f"first {step.length} tokens", str(step.n), "", _shown(step.agreement, 1), "", apart
        )
    return table


def _free(report: RepliesReport) -> Table:
    table = _table("free replies", "of", "against", "n", "same text, %", "chrF", "ROUGE-L")
    for row in report.free:
        scores = ["-" if x is None else f"{x:.1f}" for x in (row.chrf, row.rouge_l)]
        table.add_row(row.of, row.to, str(row.n), f"{row.exact:.1f}", *scores)
    return table


def _examples(report: RepliesReport, most: int = 3) -> Table:
    pruned = report.overall is not None or any(e.dense != e.pruned for e in report.examples)
    both = ("dense", "pruned") if report.overall else ("against", "this model")
    columns = ("question", "reference", *(both if pruned else ("reply",)))
    table = _table("for example", *columns, left=len(columns))
    for example in report.examples[:most]:
        told = (example.dense, example.pruned) if pruned else (example.pruned,)
        table.add_row(example.question, example.reference or "", *told)
    return table


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    return table


def _shown(value: Interval | Mean, digits: int) -> str:
    middle = value.value if isinstance(value, Interval) else value.mean
    if value.low is None or value.high is None:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
