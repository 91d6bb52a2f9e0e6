"""The table of servers under load for the terminal."""

from rich.table import Table

from prune.results.load import LoadReport, load_lines

COLUMNS = ("asked by", "server", "requests/s", "tokens/s", "first token", "between tokens")
MORE = ("whole answer", "at once", "KV in use", "not answered")


def load_table(report: LoadReport) -> Table:
    """A line per level and server: medians over runs, and counts over all of them."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.caption = "Times in ms: median / 95th percentile of requests."
    for column in (*COLUMNS, *MORE):
        table.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
    for line in load_lines(report):
        times = [
            f"{_number(line[f'{name}_p50'])} / {_number(line[f'{name}_p95'])}"
            for name in ("first", "token", "whole")
        ]
        share = line["kv_share"]
        table.add_row(
            str(line["level"]),
            line["server"],
            _number(line["requests_per_second"], 2),
            _number(line["tokens_per_second"], 1),
            *times,
            _number(line["running"]),
            "-" if share is None else f"{100 * share:.0f}%",
            f"{line['lost']} of {line['requests']}",
        )
    return table


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
