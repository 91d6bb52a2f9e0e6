"""The table of `docs/results.md`: what exports removed, what they lost, and against what.

`python -m benchmarks.demo_table EXPORT...` writes a column for each export there, from its
`prune_report.json`: those of `prune demo --model tiny-deep` and `prune demo`.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prune.results.export_result import RESULT_FILE

PAGE = Path(__file__).parents[1] / "docs/results.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"

Report = Mapping[str, Any]


def interval(value: Mapping[str, float]) -> str:
    """A difference in points with its interval."""
    return f"{value['value']:+.1f} [{value['low']:+.1f}, {value['high']:+.1f}]"


def facts(report: Report) -> dict[str, str]:
    """The rows of an export, by name."""
    overall, (dense, *_, pruned) = report["accuracy"]["overall"], report["cost"]
    tokens = max(dense["live_tokens"])
    few = sum(live < tokens for live in pruned["live_tokens"])
    found = {
        "held-out questions": f"{overall['n']}",
        "attention edges removed": f"**{1 - report['kept_edges'] / report['causal_edges']:.1%}**",
        "layers that take fewer tokens": f"{few} of {len(pruned['live_tokens'])}",
        "prefill FLOPs, KV cache left (counted)": f"**{pruned['flops'] / dense['flops']:.0%}**, "
        f"{pruned['kv_bytes'] / dense['kv_bytes']:.0%}",
        "accuracy, dense → pruned": f"{overall['dense']['value']:.1f} → "
        f"**{overall['pruned']['value']:.1f}%** ({interval(overall['difference'])})",
        "random edges, as many": f"{overall['random']:.1f}%",
        "*the plan against others of the same FLOPs, in points:*": "",
    }
    others = {row["name"]: interval(row["difference"]) for row in report["baselines"]}
    others.pop("random edges", None)
    return found | others


def table(reports: Sequence[Report]) -> str:
    """All reports as a Markdown table."""
    columns = [facts(report) for report in reports]
    names = dict.fromkeys(name for column in columns for name in column)
    head = ["", *(f"`{report['model']['name']}`" for report in reports)]
    lines = [head, ["---"] * len(head)]
    lines += [[name, *(column.get(name, "none as cheap") for column in columns)] for name in names]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str, reports: Sequence[Report]) -> str:
    """The page with the table between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(reports)}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exports", type=Path, nargs="+", help="folders of exports")
    folders = parser.parse_args().exports
    reports = [json.loads((folder / RESULT_FILE).read_text(encoding="utf-8")) for folder in folders]
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), reports), encoding="utf-8")


if __name__ == "__main__":
    main()
