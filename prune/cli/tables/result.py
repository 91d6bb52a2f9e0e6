"""Tables of an export's result for the terminal."""

from rich.table import Table

from prune.results.export_result import Result
from prune.results.latency import by_quantity


def result_table(result: Result) -> Table:
    """Edges, accuracy, cost and times, dense and pruned."""
    table = Table(show_header=True, box=None, padding=(0, 2, 0, 0))
    for column in ("", "dense", "pruned", "random edges"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("edges", "100%", f"{100 - result.removed:.1f}%", f"{100 - result.removed:.1f}%")
    if result.accuracy:
        for row in (*result.accuracy.tasks, result.accuracy.overall):
            random = "" if row.random is None else f"{row.random:.1f}"
            name = f"{row.task.replace('_', ' ')} (n={row.n})"
            style = "bold" if row.task == "all" else None
            table.add_row(
                name, f"{row.dense.value:.1f}", f"{row.pruned.value:.1f}", random, style=style
            )
    dense, *_, best = result.cost
    table.add_row(
        "prefill FLOPs (counted)", f"{dense.flops / 1e9:.3f} G", f"{best.flops / 1e9:.3f} G", ""
    )
    table.add_row(
        "KV cache (counted)",
        f"{dense.kv_bytes / 1024:.0f} KiB",
        f"{best.kv_bytes / 1024:.0f} KiB",
        "",
    )
    for what, pair in by_quantity(result.latency).items():
        table.add_row(
            f"{what} (measured)", f"{pair['dense'].median:.2f} ms",
            f"{pair['pruned'].median:.2f} ms", "",
        )  # fmt: skip
    return table


def baseline_table(result: Result) -> Table:
    """Accuracy of the baselines at the plan's cost, on the same held-out samples."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("at the plan's cost", "FLOPs", "accuracy", "plan is better by", "p"):
        table.add_column(column, justify="left" if column.startswith("at") else "right")
    for row in result.baselines:
        by = row.difference
        table.add_row(
            row.name,
            f"{100 * row.flops:.0f}%",
            f"{sum(row.accuracies) / len(row.accuracies):.1f}",
            f"{by.value:+.1f} [{by.low:+.1f}, {by.high:+.1f}]",
            f"{row.p_value:.2g}",
        )
    return table
