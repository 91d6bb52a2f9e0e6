"""How many passes over the calibration samples does a search need?

`python benchmarks/search_passes.py RUN --test TEST` searches a plan of a traced model with ever
more passes, its candidates ranked by forecasts or by the trace, and appends to
`benchmarks/results/search_passes_<device>.csv` what each plan saves, as a share of what the last
one saves, and what held-out questions lose. A pass is one run over all calibration samples; one
that is abandoned early counts in part, and a forecast as the passes that it takes.

Searches of one model try many plans in common; what a plan answers to a batch is computed once.

RUN and TEST are as in `benchmarks/planner.py`.
"""

import argparse
import subprocess
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from pathlib import Path

import torch
from planner import shown
from rows import append

from prune.bench.conditions import conditions
from prune.checkpoint.load import LoadedModel, open_model
from prune.evaluate.answers import BATCH, EncodedBatch, accuracy, answer, prepare, under
from prune.evaluate.calibration import Calibration, Seen, calibrate
from prune.evaluate.stats import paired_difference
from prune.inputs.samples import Sample
from prune.layout.pathways import REMOVABLE
from prune.layout.reach import Reach, dense_reach
from prune.plan.budget import Budget
from prune.plan.moves import candidates
from prune.plan.search import search
from prune.plan.search_result import SearchResult, SearchStep
from prune.results.answer import Answer
from prune.runtime.attention import seam
from prune.trace.foresee import PlanScreen
from prune.trace.trace import Trace
from prune.workflows.split import split_samples


@dataclass
class Remembered(Calibration):
    """Calibration samples that are asked about each plan once."""

    known: dict[tuple[int, bytes], Seen] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget which batches lost most, as before the first plan."""
        self._order = list(range(len(self.batches)))

    def _run(self, index: int, reach: Reach) -> Seen:
        key = index, reach.tobytes()
        if key not in self.known:
            self.known[key] = super()._run(index, reach)
        return self.known[key]


def commit() -> str:
    """The commit of this file's tree, with a `+` if something is changed."""
    said = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.check_output(said, cwd=Path(__file__).parent, text=True).strip()


def few_per_task(samples: list[Sample], count: int) -> list[Sample]:
    """The first samples of each task."""
    by_task = groupby(sorted(samples, key=lambda s: s.task), key=lambda s: s.task)
    return [sample for _, group in by_task for sample in list(group)[:count]]


@dataclass
class Searched:
    """A traced model whose samples are encoded, with its answers to the held-out questions."""

    trace: Trace
    opened: LoadedModel
    samples: Remembered
    held_out: list[EncodedBatch]
    dense: list[Answer]

    def search(self, rank: str, passes: int, budget: Budget, log: bool) -> SearchResult:
        """Search with at most so many passes, candidates ranked by `screen` or `trace`."""
        self.samples.begin()
        problem = self.samples.problem()
        if rank == "screen":
            size = problem.dense.samples
            screen = PlanScreen(self.samples.ranking, self.opened.processor, size)
            problem = replace(problem, foresee=screen)
        harm = {p.name: self.trace.harm(p.name) for p in self.trace.pathways() if p in REMOVABLE}

        def tell(step: SearchStep) -> None:
            if log:
                loss = budget.loss(step.score, problem.dense)
                print(f"{step.score.samples:5} {loss:7.3f}", "*" if step.accepted else " ",
                      f"{step.cost.flops:.4g}", step.what, flush=True)  # fmt: skip

        with seam(self.opened.model):
            return search(
                problem, candidates(harm), budget, max_runs=passes, method=rank, on_step=tell
            )

    def row(self, found: SearchResult, rank: str, passes: int) -> dict[str, object]:
        """What a plan saves, and what held-out questions lose."""
        opened, cost, whole = self.opened, found.cost, found.dense_cost
        pruned = answer(opened.model, opened.processor, self.held_out, under(found.plan.reach))
        change = paired_difference(
            [a.correct for a in self.dense],
            [a.correct for a in pruned],
            [a.video for a in self.dense],
        )
        return {
            **conditions(opened.model),
            "commit": commit(),
            "model": opened.id.name,
            "layers": opened.id.num_layers,
            "budget": found.budget.asked,
            "objective": found.budget.objective,
            "samples": found.dense.samples,
            "rank": rank,
            "most_passes": passes,
            "passes": f"{found.forwards / found.dense.samples:.1f}",
            "ended": found.ended,
            "flops_saved": f"{1 - cost.flops / whole.flops:.4f}",
            "edges_saved": f"{1 - cost.edges / whole.edges:.4f}",
            "kv_saved": f"{1 - cost.kv_bytes / whole.kv_bytes:.4f}",
            "calibration_loss": f"{found.budget.loss(found.score, found.dense):.3f}",
            "questions": len(self.dense),
            "dense": f"{accuracy(self.dense):.1f}",
            "change": shown(change),
        }


def opened_for_search(run: Path, test: Path, per_task: int, held_out: int) -> Searched:
    """Load a traced model and encode its samples."""
    trace = Trace.load(run)
    frames = trace.header["num_frames"]
    searched, reported = split_samples(trace, test)
    opened = open_model(trace.model.name, dense=True)
    found = calibrate(opened, few_per_task(searched, per_task), frames)
    given = {f.name: getattr(found, f.name) for f in fields(found) if f.init}
    asked, _ = prepare(
        opened.model, opened.processor, few_per_task(reported, held_out), frames, BATCH
    )
    run_dense = under(dense_reach(opened.id.num_layers))
    dense = answer(opened.model, opened.processor, asked, run_dense)
    return Searched(trace, opened, Remembered(**given), asked, dense)


def main() -> None:
    """Search with each number of passes, and append a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of a trace")
    parser.add_argument("--test", type=Path, required=True, help="held-out JSONL")
    parser.add_argument("--per-task", type=int, default=96, help="calibration samples")
    parser.add_argument("--held-out", type=int, default=100, help="questions per task")
    parser.add_argument("--passes", type=int, nargs="+", default=[400, 100, 50, 25])
    parser.add_argument(
        "--rank", nargs="+", choices=["screen", "trace"], default=["screen", "trace"]
    )
    parser.add_argument("--objective", choices=["flops", "edges"], default="flops")
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--log", action="store_true", help="print every plan that is tried")
    args = parser.parse_args()
    torch.set_num_threads(1)
    opened = opened_for_search(args.run, args.test, args.per_task, args.held_out)
    budget = Budget("max_drop", args.max_drop, args.objective)
    for rank in args.rank:
        for passes in args.passes:
            row = opened.row(opened.search(rank, passes, budget, args.log), rank, passes)
            append("search_passes", "cpu", [row])
            print(row, flush=True)


if __name__ == "__main__":
    main()
