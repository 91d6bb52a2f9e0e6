"""The measured rows of `docs/serving.md`.

`python -m benchmarks.serving_table` writes them there, from `benchmarks/results/serving_cpu.csv`:
the last row of each number of clients of the last model that `benchmarks/serving.py` was run with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rows import RESULTS, read

PAGE = Path(__file__).parents[1] / "docs/serving.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->"
ALIKE = (
    "model",
    "layers",
    "hidden",
    "frames",
    "side",
    "prompt",
    "answer",
    "kv (MiB)",
    "serve",
    "plan",
)
"""Columns that the rows of a table have in common."""

Row = Mapping[str, str]


def latest(rows: Sequence[Row]) -> list[Row]:
    """The last row of every number of clients, of the load of the last row."""
    same = [row for row in rows if all(row[name] == rows[-1][name] for name in ALIKE)]
    return sorted({row["clients"]: row for row in same}.values(), key=lambda r: int(r["clients"]))


def measured(rows: Sequence[Row]) -> str:
    """What the page says of some rows."""
    if not rows:
        return "No row was measured yet.\n"
    found = latest(rows)
    about = found[-1]
    text = (
        f"{about['model'].capitalize()}, {about['layers']} layers, {about['hidden']} wide, the "
        f"plan `{about['plan']}`; prompts of {about['prompt']} tokens, clips of "
        f"{about['frames']} frames of {about['side']} pixels, answers of {about['answer']} tokens; "
        f"{about['kv (MiB)']} MiB of KV memory for each of the two servers, on {about['device']}. "
        "Ratios are of runs in pairs; above 1 the pruned server is ahead.\n\n"
    )
    head = ["clients", "at once, dense", "at once, pruned", "requests/s", "first token", "token"]
    lines = [head, ["---"] * len(head)]
    lines += [
        [row["clients"], row["dense running"], row["pruned running"]]
        + [f"{float(row[f'ratio {name}']):.2f}x" for name in head[3:]]
        for row in found
    ]
    return text + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str, rows: Sequence[Row]) -> str:
    """The page with what the rows say between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{measured(rows)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    given = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page(given, read(RESULTS / "serving_cpu.csv")), encoding="utf-8")
