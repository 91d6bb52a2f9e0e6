"""The last lines of `prune export` and `prune demo`."""

from pathlib import Path

from prune.cli.console import err, out
from prune.cli.tables.replies import replies_tables
from prune.cli.tables.result import baseline_table, result_table
from prune.results.export_result import Result


def show_export(result: Result, folder: Path) -> None:
    """Print the result, the paths, and the warning of a search that missed its budget."""
    out.print(result_table(result))
    if result.baselines:
        out.print(baseline_table(result))
    if result.replies is not None:
        for table in replies_tables(result.replies):
            out.print(table)
    if result.launched and result.launched.kernels:
        ran = ", ".join(f"{name} in {n} calls" for name, n in result.launched.kernels.items())
        out.print(f"\nAttention     {ran}, on {result.conditions['device']}", end="")
    out.print(f"\nPruned model  {folder}\nReport        {folder / 'report.html'}")
    if result.search and result.search.warning:
        err.print(f"warning: {result.search.warning}", soft_wrap=True)
