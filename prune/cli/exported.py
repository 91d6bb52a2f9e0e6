"""The last lines of `prune export` and `prune demo`."""

from pathlib import Path

from prune.cli.as_json import print_json
from prune.cli.console import err, out
from prune.cli.tables.accuracy import accuracy_facts
from prune.cli.tables.replies import replies_tables
from prune.cli.tables.result import baseline_table, result_table
from prune.cli.tables.turns import turns_table
from prune.cli.thresholds import FailOn, check_verdict
from prune.results.export_result import Result
from prune.workflows.verdict import judged


def show_export(result: Result, folder: Path, as_json: bool = False) -> None:
    """Print the result, the verdict, the paths, and the warning of a search that missed its budget.

    Args:
        result: of the export.
        folder: where it lies.
        as_json: print one JSON object instead of tables.
    """
    if as_json:
        _print_json(result, folder)
    else:
        _print_tables(result, folder)
    if result.search and result.search.warning:
        err.print(f"warning: {result.search.warning}", soft_wrap=True)


def check_export(result: Result, fail_on: FailOn) -> None:
    """Raise `ThresholdError` if the verdict of the report is not good enough."""
    found = judged(result)
    check_verdict(found.tone, found.headline, fail_on)


def _print_tables(result: Result, folder: Path) -> None:
    out.print(result_table(result))
    if result.baselines:
        out.print(baseline_table(result))
    if result.replies is not None:
        for table in replies_tables(result.replies):
            out.print(table)
    if result.turns is not None:
        out.print(turns_table(result.turns))
    if result.launched and result.launched.kernels:
        ran = ", ".join(f"{name} in {n} calls" for name, n in result.launched.kernels.items())
        out.print(f"\nAttention     {ran}, on {result.conditions['device']}", end="")
    found = judged(result)
    out.print(f"\nVerdict       {found.headline}: {found.because}", soft_wrap=True)
    out.print(f"Pruned model  {folder}\nReport        {folder / 'report.html'}")


def _print_json(result: Result, folder: Path) -> None:
    found = judged(result)
    dense, *_, best = result.cost
    print_json(
        "export",
        folder=folder,
        plan=result.plan,
        verdict={"tone": found.tone, "headline": found.headline, "because": found.because},
        kept={
            "edges": result.kept_edges / result.causal_edges,
            "flops": best.flops / dense.flops,
            "kv_bytes": best.kv_bytes / dense.kv_bytes,
        },
        **(accuracy_facts([], result.accuracy) if result.accuracy else {}),
        replies=result.replies.overall if result.replies else None,
        baselines=result.baselines,
        latency=result.latency,
        conditions=result.conditions,
        failed=result.failed,
    )
