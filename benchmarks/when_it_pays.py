"""At which prompt length, plan and batch does which part of a plan pay?

`python benchmarks/when_it_pays.py measure EXPORT --data TEST` asks a shipped model, as `prune
export` wrote it, dense and pruned in turn in one process, about clips of 8 and 64 frames, alone and
in a batch, and appends rows to `benchmarks/results/when_it_pays_cpu.csv`. The figures are process
time on one thread, and every round asks about another clip. `prune demo --out runs/demo` leaves
EXPORT as `runs/demo/tiny-pruned` and TEST as `runs/demo/clips-0/test.jsonl`.

`python benchmarks/when_it_pays.py draw` counts the published maps on the geometry of the models
they were found in, and writes the figure and the tables of `docs/when-it-pays.md` from that and
from the rows in `benchmarks/results`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pays_counted import LENGTHS, PLANS, THRESHOLD, count, first_that_pays
from pays_drawn import draw, table
from rows import RESULTS, append, read
from short import Timed, request

import prune
from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.inputs import encode
from prune.inputs.samples import load_samples
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import PLAN_FILE

FRAMES, BATCHES = (8, 64), (1, 8)
TOLERANCE = 1e-4
"""Largest difference of an answer's logit between the pruned and the masked model, in fp32."""

PAGE = Path(__file__).parents[1] / "docs/when-it-pays.md"


def measure(export: Path, data: Path, runs: int) -> None:
    """Append a row per length and batch of one exported model."""
    opened, plan = open_model(export, dense=True), prune.Plan.load(export / PLAN_FILE)
    samples, sizes = load_samples(data)[: runs + 1], Geometry.of(opened.model)
    timed = Timed(opened.model)
    for frames in FRAMES:
        for batch in BATCHES:
            times: dict[str, list[tuple[float, float]]] = {"dense": [], "pruned": []}
            for turn, sample in enumerate(samples):
                inputs = dict(encode.read(opened.processor, [sample] * batch, frames))
                dense = request(timed, inputs)
                with prune.apply(opened.model, plan, processor=opened.processor):
                    pruned = request(timed, inputs)
                if turn:
                    times["dense"].append(dense[:2])
                    times["pruned"].append(pruned[:2])
                    continue
                with prune.apply(opened.model, plan, processor=opened.processor, skip="none"):
                    error = float((request(timed, inputs)[2] - pruned[2]).abs().max())
                if not error <= TOLERANCE:
                    raise SystemExit(f"a logit is off by {error}: no row is written")
            prompt = prune.segment(opened.processor, inputs).row(0)
            every, kept = dense_cost(plan.num_layers, prompt, sizes), cost_of(
                plan.reach, prompt, sizes
            )  # fmt: skip
            ratios = np.array(times["dense"]) / np.array(times["pruned"])
            row: dict[str, Any] = {
                **conditions(opened.model, clock="process time"),
                "model": export.name,
                "plan": plan.sha256[:12],
                "frames": frames,
                "tokens": prompt.shape[1],
                "batch": batch,
                "parity": f"{error:.1e}",
            }
            for index, phase in enumerate(("prefill", "decode")):
                low, middle, high = np.percentile(ratios[:, index], [20, 50, 80])
                row |= {phase: f"{middle:.3f}", f"{phase} p20": f"{low:.3f}"}
                row |= {f"{phase} p80": f"{high:.3f}"}
            row |= {
                "runs": len(ratios),
                "counted prefill": f"{every.flops / kept.flops:.3f}",
                "kv left": f"{kept.kv_bytes / every.kv_bytes:.3f}",
            }
            print(row, flush=True)
            append("when_it_pays", "cpu", [row])


def write_page() -> None:
    """Replace the figure and what stands between the markers of the page."""
    text = PAGE.read_text(encoding="utf-8")
    counted = table(
        ["plan", "prompt", "prefill", "decode, batch 1", "8", "32", "KV of a request", "in 80 GB"],
        [count(plan, frames).cells() for plan in PLANS for frames in LENGTHS],
    )
    begins = table(
        [f"{THRESHOLD:g}x or more from", "prefill", "decode, batch 1", "8", "32", "requests"],
        [[plan.name, *first_that_pays(plan)] for plan in PLANS],
    )
    rows = read(RESULTS / "when_it_pays_cpu.csv")
    measured = table(
        ["model", "prompt", "batch", "prefill (counted)", "decode step", "KV left"],
        [
            [
                f"`{r['model']}`",
                f"{r['frames']} frames, {r['tokens']} tokens",
                r["batch"],
                f"{float(r['prefill']):.2f}x ({float(r['counted prefill']):.2f}x)",
                f"{float(r['decode']):.2f}x",
                f"{float(r['kv left']):.0%}",
            ]
            for r in rows
        ],
    )
    for name, found in (("counted", counted), ("begins", begins), ("measured", measured)):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = before + start + "\n" + found + "\n" + end + rest.split(end)[1]
    PAGE.write_text(text, encoding="utf-8")
    draw(PAGE.with_suffix(".png"), rows, read(RESULTS / "short_cpu.csv"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    timing = commands.add_parser("measure", help="time an exported model")
    timing.add_argument("export", type=Path)
    timing.add_argument("--data", type=Path, required=True)
    timing.add_argument("--runs", type=int, default=5)
    commands.add_parser("draw", help="count, and write the figure and the page's tables")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "measure":
        measure(args.export, args.data, args.runs)
    else:
        write_page()


if __name__ == "__main__":
    main()
