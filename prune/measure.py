"""From a model, a trace and a budget to a plan; from a plan and held-out samples to a `Result`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.bench import bench, conditions
from prune.edges import EdgeHistogram, edge_histogram
from prune.errors import BadInputError
from prune.evaluate.answers import Prepared, answer, prepare, under
from prune.evaluate.random_edges import random_logits
from prune.evaluate.stats import bootstrap_band
from prune.models import Opened
from prune.pathways import PUBLISHED, REMOVABLE, TRACED, Reach, dense_reach
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.plan import Plan
from prune.plan.search import Found, Score, candidates, search
from prune.result import AccuracyReport, CostRow, Curve, Flow, Result, accuracy_report
from prune.runtime.replay import read
from prune.samples import Sample, load_samples
from prune.segments import Segments
from prune.trace.trace import Trace

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress bar: `with progress(title, total) as advance: advance(1)`."""

BATCH = 16
MAX_RUNS = 80
"""Most masked runs over the calibration samples that a search may take."""

GIVE_UP = 2
"""Answers by which a plan may be below its budget, part of the way, before its run is given up."""

RANDOM_SEEDS = 5


def typical_prompt(batches: Sequence[Prepared]) -> Segments:
    """The layout of the prompt of median length: what edges and costs are counted on."""
    rows = [b.replay.segments.row(i) for b in batches for i in range(len(b.samples))]
    return sorted(rows, key=lambda s: s.shape[1])[len(rows) // 2]


def split_samples(trace: Trace | None, test: Path | None) -> tuple[list[Sample], list[Sample]]:
    """Samples to search on, and samples to report on; they share none.

    With a test file, every sample of the traced data is for the search. Without one, every second
    sample that was not traced is held out.

    Raises:
        BadInputError: nothing is left to report on, or a sample is in both files.
    """
    searched = load_samples(trace.data) if trace else []
    if test is not None:
        held_out = load_samples(test)
        common = {s.id for s in searched} & {s.id for s in held_out}
        if common:
            raise BadInputError(f"{test}: sample {min(common)!r} was also used to find the plan")
        return searched, held_out
    traced = set(trace.header["samples"]) if trace else set()
    held_out = [s for s in searched if s.id not in traced][::2]
    taken = {s.id for s in held_out}
    return [s for s in searched if s.id not in taken], held_out


def find_plan(
    opened: Opened,
    trace: Trace,
    calibration: Sequence[Sample],
    progress: Progress,
    max_drop: float | None = None,
    density: float | None = None,
) -> Found:
    """Search a plan whose budget holds on the calibration samples.

    Args:
        opened: the dense model that was traced.
        trace: ranks the candidates.
        calibration: samples on which each step is checked.
        progress: shows it.
        max_drop, density: the budget, one of them (`prune.plan.search.search`).
    """
    # By task, so that a plan that is too much for one shows it in the first batches.
    by_task = sorted(calibration, key=lambda sample: sample.task)
    with progress("Reading calibration clips", len(calibration)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, by_task, trace.header["num_frames"], BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no calibration sample could be used: {next(iter(failed.values()))}")
    histogram: EdgeHistogram = edge_histogram(typical_prompt(batches))
    harm = {p.name: trace.harm(p.name) for p in trace.pathways() if p in REMOVABLE}
    if not harm:
        raise BadInputError(
            f"{trace.run}: holds no pathway that a plan can remove: trace without --pathway"
        )
    ranked = candidates(harm, histogram, opened.id.num_layers)

    def answers(batch: Prepared, reach: Reach) -> NDArray[np.float64]:
        found = answer(opened.model, opened.processor, [batch], under(reach))
        return np.array([(a.correct, a.p_true) for a in found])

    dense = [answers(batch, dense_reach(opened.id.num_layers)) for batch in batches]
    whole = Score(*(100 * np.concatenate(dense).mean(0)).tolist())
    order = list(range(len(batches)))
    fall = np.zeros(len(batches))

    def measure(reach: Reach, max_drop: float | None) -> Score:
        seen = list(dense)  # What a given-up plan was spared counts as the dense model's.
        score = whole
        for index in order:
            seen[index] = answers(batches[index], reach)
            fall[index] = (dense[index] - seen[index]).mean()
            merged = np.concatenate(seen)
            score = Score(*(100 * merged.mean(0)).tolist())
            if max_drop is not None and score.lost(whole) > max_drop + 100 * GIVE_UP / len(merged):
                break
        order.sort(key=lambda index: -fall[index])
        return score

    with progress("Searching a plan", MAX_RUNS) as advance:
        return search(
            ranked,
            histogram,
            opened.id,
            measure,
            whole,
            max_drop=max_drop,
            density=density,
            max_runs=MAX_RUNS,
            on_step=lambda step: advance(1),
        )


def compare(
    opened: Opened, plan: Plan, batches: Sequence[Prepared], progress: Progress
) -> AccuracyReport:
    """Answers of the dense model, of the plan, and of random edges at the same budget."""
    count = sum(len(b.samples) for b in batches)
    with progress("Answering held-out questions", count * (2 + RANDOM_SEEDS)) as advance:
        runs = [under(dense_reach(plan.num_layers)), under(plan.reach)]
        runs += [partial(random_logits, reach=plan.reach, seed=s) for s in range(RANDOM_SEEDS)]
        dense, pruned, *random = [
            answer(opened.model, opened.processor, batches, run, advance) for run in runs
        ]
    return accuracy_report(dense, pruned, random)


def flow_of(trace: Trace) -> Flow:
    """The curves of the flow map (2510.13251, figures 2 and 3)."""

    def curve(label: str, pathway: str, task: str | None = None) -> Curve:
        mean, low, high = bootstrap_band(trace.relative_change(pathway, task))
        return Curve(label, *(tuple(np.round(c, 4).tolist()) for c in (mean, low, high)))

    traced = trace.pathways()
    tasks = sorted({r["task"] for r in trace.traced} if PUBLISHED[0] in traced else ())
    # By default the paper's, without the variants that only a search needs.
    shown = PUBLISHED[1:] if tuple(traced) == TRACED else [p for p in traced if p != PUBLISHED[0]]
    return Flow(
        by_task=tuple(curve(task, "cross_frame", task) for task in tasks),
        pathways=tuple(curve(p.title, p.name) for p in shown),
        counts=trace.counts(),
        window=trace.header["window"],
    )


def costs(model: Any, plan: Plan, prompt: Segments) -> tuple[CostRow, ...]:
    """Counted for a prompt: dense, with edges skipped, and with all that follows skipped."""
    geometry = Geometry.of(model)
    dense = dense_cost(plan.num_layers, prompt, geometry)
    cost = cost_of(plan.reach, prompt, geometry)
    every = dense.live_tokens
    return (
        CostRow("dense", dense.edges, dense.flops, dense.kv_bytes, every),
        CostRow("edges skipped", cost.edges, cost.mask_flops, dense.kv_bytes, every),
        CostRow(
            "edges, dead states and unread KV skipped",
            cost.edges,
            cost.flops,
            cost.kv_bytes,
            cost.live_tokens,
        ),
    )


def measure_plan(
    opened: Opened,
    plan: Plan,
    held_out: Sequence[Sample],
    num_frames: int,
    progress: Progress,
    trace: Trace | None = None,
    found: Found | None = None,
    argv: str = "",
) -> Result:
    """Everything the report shows about a plan, on samples that neither trace nor search saw.

    Raises:
        BadInputError: not one held-out sample can be used.
    """
    with progress("Reading held-out clips", len(held_out)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, held_out, num_frames, BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no held-out sample could be used: {next(iter(failed.values()))}")
    prompt = typical_prompt(batches)
    accuracies = compare(opened, plan, batches, progress)
    runs = 20
    with progress("Timing", runs) as advance:
        inputs = read(opened.processor, batches[0].samples[:1], num_frames)
        latency = bench(opened.model, plan, opened.processor, inputs, runs, advance)
    kept, causal = plan.count_edges(prompt)
    return Result(
        model=opened.id.model_dump(mode="json"),
        plan={"name": plan.name, "sha256": plan.sha256},
        kept_edges=kept,
        causal_edges=causal,
        prompt_runs=tuple(prompt.runs()),
        flow=flow_of(trace) if trace else None,
        steps=tuple((s.density, s.score.accuracy, s.accepted) for s in found.steps)
        if found
        else (),
        dense_calibration=found.dense.accuracy if found else None,
        accuracy=accuracies,
        cost=costs(opened.model, plan, prompt),
        latency=latency,
        conditions=conditions(opened.model, frames=str(num_frames), batch="1", command=argv),
        failed=failed,
    )
