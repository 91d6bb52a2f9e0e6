"""From a model, a trace and a budget to a plan; from a plan and held-out samples to a `Result`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prune.bench.conditions import conditions
from prune.bench.latency import latency
from prune.bench.launched import launched
from prune.bench.shapes import shapes
from prune.bench.side import sides
from prune.errors import BadInputError
from prune.evaluate.answers import BATCH, prepare, typical_prompt
from prune.evaluate.flips import asked
from prune.learn.gates import Recipe, harm_of, learn_gates
from prune.measure.calibration import calibrate
from prune.measure.compare import SEEDS, compare
from prune.models import Opened
from prune.pathways import REMOVABLE
from prune.plan.budget import Budget
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.found import Found
from prune.plan.moves import candidates
from prune.plan.plan import Plan
from prune.plan.search import search
from prune.progress import Progress
from prune.result import CostRow, Result, SearchReport
from prune.samples import Sample, load_samples
from prune.segments import Segments
from prune.trace.flow import flow_of
from prune.trace.trace import Trace

MAX_RUNS = 150
"""Most passes over the calibration samples that a search may take."""


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


Method = Literal["trace", "gates"]
"""What ranks the candidates of a search: knockouts, or learned gates (`prune.learn.gates`)."""


def find_plan(
    opened: Opened,
    trace: Trace,
    calibration: Sequence[Sample],
    progress: Progress,
    budget: Budget,
    method: Method = "trace",
    per_head: bool = False,
) -> Found:
    """Search the cheapest plan whose budget holds on the calibration samples.

    Args:
        opened: the dense model that was traced.
        trace: ranks the candidates.
        calibration: samples on which each step is checked.
        progress: shows it.
        budget: what may be lost, or has to be saved.
        method: what ranks.
        per_head: whether pathways may go in single KV heads.

    Raises:
        BadInputError: no calibration sample can be used, or the trace holds no removable pathway.
    """
    with progress("Reading calibration clips", len(calibration)) as advance:
        prepared = calibrate(opened, calibration, trace.header["num_frames"], advance)
    if method == "gates":
        recipe = Recipe()
        with progress("Learning gates", recipe.steps) as advance:
            gates = learn_gates(prepared.batches, opened.id, recipe, lambda loss: advance(1))
        harm = harm_of(gates)
    else:
        harm = {p.name: trace.harm(p.name) for p in trace.pathways() if p in REMOVABLE}
    if not harm:
        raise BadInputError(
            f"{trace.run}: holds no pathway that a plan can remove: trace without --pathway"
        )
    passes = MAX_RUNS + len(harm)
    with progress("Searching a plan", passes * prepared.score.samples) as advance:
        return search(
            prepared.problem(),
            candidates(harm),
            budget,
            max_runs=MAX_RUNS,
            method=method,
            heads=opened.id.num_kv_heads if per_head else None,
            on_step=lambda step: advance(step.score.samples),
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
    seeds: int = SEEDS,
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
    accuracies, baselines = compare(opened, plan, batches, progress, seeds)
    runs = 20
    with progress("Timing", runs) as advance:
        compared = sides(opened.model, opened.processor, plan)
        times = latency(compared, batches[0].samples[0], num_frames, runs, advance)
        ran = launched(compared[1], batches[0].samples[0], num_frames)
    kept, causal = plan.count_edges(prompt)
    return Result(
        model=opened.id.model_dump(mode="json"),
        plan={"name": plan.name, "sha256": plan.sha256},
        kept_edges=kept,
        causal_edges=causal,
        prompt_runs=tuple(prompt.runs()),
        flow=flow_of(trace) if trace else None,
        search=SearchReport.of(found) if found else None,
        accuracy=accuracies,
        asked=asked(accuracies.flipped, held_out, num_frames),
        baselines=baselines,
        cost=costs(opened.model, plan, prompt),
        shapes=shapes(plan.reach, prompt, Geometry.of(opened.model), num_frames),
        latency=times,
        launched=ran,
        conditions=conditions(opened.model, frames=str(num_frames), batch="1", command=argv),
        failed=failed,
    )
