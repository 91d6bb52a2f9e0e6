"""The table of later turns for the terminal."""

from rich.table import Table

from prune.results.interval import Interval
from prune.results.later_turns import TurnsReport


def turns_table(report: TurnsReport) -> Table:
    """Answers to questions with turns before them, in one prompt and with a kept cache."""
    table = Table(
        title=f"later turns; a kept cache holds {100 * report.cache:.0f}% of the dense one",
        title_justify="left", box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    columns = ("turns before", "n", "as dense, sent again, %", "as dense, kept, %",
               "accuracy, dense", "accuracy, kept")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right" if column != columns[0] else "left")
    for row in report.rows:
        shares = (row.sent, row.kept, row.dense_accuracy, row.kept_accuracy)
        table.add_row(
            "all" if row.turns is None else str(row.turns), str(row.n), *map(_shown, shares)
        )
    return table


def _shown(share: Interval | None) -> str:
    return "-" if share is None else f"{share.value:.1f} [{share.low:.1f}, {share.high:.1f}]"
