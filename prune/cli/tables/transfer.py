"""Table of a transfer matrix for the terminal."""

from rich.table import Table

from prune.results.transfer_matrix import Transfer


def transfer_table(found: Transfer) -> Table:
    """Points that each plan loses against dense: rows by its use, columns by its origin."""
    table = Table(title="accuracy against dense, in points", title_justify="left", box=None,
                  padding=(0, 2, 0, 0))  # fmt: skip
    table.add_column("used on (dense accuracy)")
    for task in found.flops:
        table.add_column(f"found on {task.replace('_', ' ')}", justify="right")
    rows: dict[str, list[str]] = {}
    for cell in found.cells:
        name = f"{cell.used_on.replace('_', ' ')} ({cell.dense:.1f}%, n={cell.n})"
        by = cell.difference
        rows.setdefault(name, []).append(f"{by.value:+.1f} [{by.low:+.1f}, {by.high:+.1f}]")
    for name, cells in rows.items():
        table.add_row(name, *cells)
    table.add_row("FLOPs", *(f"{100 * share:.0f}%" for share in found.flops.values()))
    return table
