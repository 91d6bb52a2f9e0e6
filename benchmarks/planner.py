"""What do a planner's ways find, and where does a plan hold?

`python benchmarks/planner.py search RUN --test TEST` searches a plan for `tiny` in several ways
(knockouts, learned gates or gradients, single KV heads, each kind of budget) on a traced run, and
appends for each what it removes and what held-out questions lose, to
`benchmarks/results/planner_<device>.csv`.
With `--heal` the model is also distilled with the plan on, for 300 steps.

`python benchmarks/planner.py transfer RUN --test TEST` searches a plan on every task, uses it on
every other, on other frame counts and with a longer text, and appends to
`benchmarks/results/planner_transfer_<device>.csv`.

`python benchmarks/planner.py draw` draws these rows as `docs/transfer.png`.

`prune demo --out runs/demo` leaves RUN as `runs/demo/run-0` and TEST as
`runs/demo/clips-0/test.jsonl`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rows import RESULTS, append, interval, read

from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.evaluate.answers import BATCH, accuracy, answer, prepare, under
from prune.evaluate.stats import paired_difference
from prune.journal.progress import Advance
from prune.layout.pathways import VIDEO
from prune.layout.reach import dense_reach
from prune.learn.heal import HealSettings
from prune.plan.budget import Budget
from prune.plan.liveness import State, states
from prune.report.figures.style import save_figure
from prune.report.figures.transfer import transfer_figure
from prune.results.interval import Interval
from prune.results.transfer_matrix import Cell, Transfer
from prune.trace.trace import Trace
from prune.workflows.heal import heal_model
from prune.workflows.options import Method
from prune.workflows.plan import find_plan
from prune.workflows.split import split_samples
from prune.workflows.transfer import transfer

FIGURE = Path(__file__).parents[1] / "docs/transfer.png"

WAYS: dict[str, tuple[Budget, Method, bool]] = {
    "trace": (Budget("max_drop", 0.5), Method.TRACE, False),
    "gates": (Budget("max_drop", 0.5), Method.GATES, False),
    "screen": (Budget("max_drop", 0.5), Method.SCREEN, False),
    "per-head": (Budget("max_drop", 0.5), Method.TRACE, True),
    "max-kl": (Budget("max_kl", 0.01), Method.TRACE, False),
    "speedup": (Budget("prefill_speedup", 3.2), Method.TRACE, False),
    "density": (Budget("density", 0.15), Method.TRACE, False),
    "kv-bytes": (Budget("kv_bytes", 400_000), Method.TRACE, False),
}


@contextmanager
def quiet(title: str, total: int) -> Iterator[Advance]:
    """A `prune.journal.progress.Progress` that says what began, and no more."""
    print(f"{title} ({total})", flush=True)
    yield lambda steps, note="": None


def shown(difference: Interval) -> str:
    """With its 95% interval, in points."""
    return f"{difference.value:.1f} [{difference.low:.1f}, {difference.high:.1f}]"


def search(run: Path, test: Path, ways: list[str], heal: bool) -> None:
    """A row for each way."""
    trace = Trace.load(run)
    frames = trace.header["num_frames"]
    calibration, held_out = split_samples(trace, test)
    opened = open_model("tiny", dense=True)
    asked, _ = prepare(opened.model, opened.processor, held_out, frames, BATCH)
    dense = answer(opened.model, opened.processor, asked, under(dense_reach(opened.id.num_layers)))
    for way in ways:
        budget, method, per_head = WAYS[way]
        began = time.process_time()
        found = find_plan(opened, trace, calibration, quiet, budget, method, per_head)
        took = time.process_time() - began
        pruned = answer(opened.model, opened.processor, asked, under(found.plan.reach))
        cost, whole = found.cost, found.dense_cost
        dead = (states(found.plan.reach)[:, list(VIDEO)] == State.DEAD).all(1).sum()
        row = {
            **conditions(opened.model),
            "budget": f"{budget.kind} {budget.value:g}",
            "way": way,
            "edges_left": f"{cost.edges / whole.edges:.3f}",
            "flops_left": f"{cost.flops / whole.flops:.3f}",
            "kv_left": f"{cost.kv_bytes / whole.kv_bytes:.3f}",
            "video_dead_layers": int(dead),
            "calibration_loss": f"{found.dense.expected - found.score.expected:.2f}",
            "questions": len(dense),
            "dense": f"{accuracy(dense):.1f}",
            "change": shown(
                paired_difference(
                    [a.correct for a in dense],
                    [a.correct for a in pruned],
                    [a.video for a in dense],
                )
            ),
            "passes": found.forwards,
            "of_exhaustive": f"{found.forwards / found.exhaustive:.4f}",
            "cpu_s": f"{took:.0f}",
            "change_healed": "",
        }
        if heal:
            with tempfile.TemporaryDirectory() as folder:
                healed = heal_model(
                    open_model("tiny", dense=True), found.plan, calibration, held_out, frames,
                    HealSettings(), Path(folder) / "healed", quiet,
                )  # fmt: skip
            row["change_healed"] = shown(healed.difference)
        append("planner", "cpu", [row])
        print(row, flush=True)


def matrix(run: Path, test: Path) -> None:
    """A row for each plan and place."""
    trace = Trace.load(run)
    calibration, held_out = split_samples(trace, test)
    opened = open_model("tiny", dense=True)
    budget = Budget("max_drop", 0.5)
    found = transfer(opened, trace, calibration, held_out, budget, quiet, (4, 12))
    rows = [
        {
            **conditions(opened.model),
            "found_on": cell.found_on,
            "flops_left": f"{found.flops[cell.found_on]:.3f}",
            "used_on": cell.used_on,
            "questions": cell.n,
            "dense": f"{cell.dense:.1f}",
            "change": shown(cell.difference),
        }
        for cell in found.cells
    ]
    append("planner_transfer", "cpu", rows)


def draw() -> None:
    """The figure of the page, of the latest row of each plan and place."""
    cells, flops = {}, {}
    for row in read(RESULTS / "planner_transfer_cpu.csv"):
        flops[row["found_on"]] = float(row["flops_left"])
        cells[row["found_on"], row["used_on"]] = Cell(
            row["found_on"], row["used_on"], int(row["questions"]), float(row["dense"]),
            interval(row["change"]),
        )  # fmt: skip
    save_figure(transfer_figure(Transfer(flops, tuple(cells.values()))), FIGURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["search", "transfer", "draw"])
    parser.add_argument("run", type=Path, nargs="?", help="run folder of a trace of tiny")
    parser.add_argument("--test", type=Path, help="held-out JSONL")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="default: every one")
    parser.add_argument("--heal", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "draw":
        draw()
    elif args.run is None or args.test is None:
        parser.error(f"{args.what}: give RUN and --test")
    elif args.what == "search":
        search(args.run, args.test, args.way or list(WAYS), args.heal)
    else:
        matrix(args.run, args.test)


if __name__ == "__main__":
    main()
