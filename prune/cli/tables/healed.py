"""Table of healed plans for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from prune.results.healed import HealResult


def healed_table(found: Sequence[HealResult]) -> Table:
    """Accuracy on held-out samples under every plan, before and after healing."""
    table = Table(
        title=f"accuracy on {found[0].n} held-out samples, in percent", title_justify="left",
        box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in ("plan", "FLOPs", "dense", "pruned", "healed", "healed against dense [95%]", "p"):
        table.add_column(column, justify="left" if column == "plan" else "right")
    for row in found:
        by = row.difference
        table.add_row(
            row.plan, f"{100 * row.flops:.0f}%", f"{row.dense:.1f}", f"{row.pruned:.1f}",
            f"{row.healed:.1f}", f"{by.value:+.1f} [{by.low:+.1f}, {by.high:+.1f}]",
            f"{row.p_value:.2g}",
        )  # fmt: skip
    return table
