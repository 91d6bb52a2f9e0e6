"""The workflow of `prune plan`: from a trace and a budget to a plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import BadInputError
from prune.evaluate.frame_counts import calibrate_at
from prune.inputs.max_failed import MAX_FAILED, check_failed
from prune.inputs.replying import Replying
from prune.inputs.samples import Sample, need_options
from prune.journal.progress import Progress, silent
from prune.journal.records import check_traced
from prune.layout.pathways import SEARCHED
from prune.learn.gates import GateSettings, harm_of, learn_gates
from prune.plan.budget import Budget, Objective
from prune.plan.eliminate import ALONE
from prune.plan.moves import candidates
from prune.plan.plan import RUN_PLAN_FILE
from prune.plan.search import search
from prune.plan.search_result import SearchResult
from prune.report.figures.front import front_figure
from prune.report.figures.style import save_figure
from prune.results.export_result import SearchReport
from prune.runtime.attention import seam
from prune.trace.foresee import PlanScreen
from prune.trace.trace import Trace
from prune.workflows.options import Method
from prune.workflows.split import split_samples

MAX_RUNS = 150
"""Limit on the passes over the calibration samples that a search takes."""

ALL_ALONE = MAX_RUNS * ALONE * 2
"""Candidates that a search can run alone, on half of the samples each. With more of them, as in
models of 16 layers and more, they are ranked by gradients where nothing is said."""


@dataclass(frozen=True)
class FoundPlan:
    """A searched plan and the files that were written about it.

    Attributes:
        search: the plan, with what it saves and loses on the calibration samples.
        path: the plan file.
        report: JSON of the search.
        figure: the front of plans that the search saw.
    """

    search: SearchResult
    path: Path
    report: Path
    figure: Path


def open_traced(
    trace: Trace, model: str | Path | None, device: str | None, dtype: str | None
) -> LoadedModel:
    """Load the dense model of a trace, in the precision in which it was traced.

    Args:
        trace: of the model.
        model: its folder, if it is no longer where it was traced.
        device, dtype: as `device_map` and `dtype` of `prune.load`; the trace's precision if None.
    """
    dtype = dtype or trace.header["dtype"]
    name = model or trace.model.name
    return open_model(name, device, dtype, dense=True, positions=trace.model.positions)


def search_plan(
    run: Path,
    budget: Budget | None = None,
    progress: Progress = silent,
    *,
    objective: Objective = "flops",
    out: Path | None = None,
    model: str | Path | None = None,
    test: Path | None = None,
    method: Method | None = None,
    per_head: bool = False,
    freeze: bool = False,
    max_failed: str = MAX_FAILED,
    device: str | None = None,
    dtype: str | None = None,
) -> FoundPlan:
    """Search the cheapest plan within a budget, and write it with a report and a figure.

    A keyboard interrupt ends the search with the best plan so far.

    Args:
        run: the run folder of a trace.
        budget: what may be lost, or has to be saved; `Budget.default` if None.
        progress: shows the search.
        objective: what to reduce where no budget is given.
        out: the plan file, `RUN/plan.json` if None.
        model: the traced model's folder, if it is no longer where it was traced.
        test: JSONL whose samples must not be searched on; see `prune.workflows.split`.
        method: what ranks the candidates; see `find_plan`.
        per_head: whether pathways may also be removed in single KV heads.
        freeze: whether states may also be frozen.
        max_failed: samples of the trace that may have failed (`prune.inputs.max_failed`).
        device, dtype: as `device_map` and `dtype` of `prune.load`; the trace's precision if None.

    Raises:
        BadInputError: trace or samples cannot be read, or a video is in both data sets.
    """
    trace = Trace.load(run)
    check_failed(trace.failed, len(trace.records), max_failed)
    opened = open_traced(trace, model, device, dtype)
    check_traced(trace.header, opened, run)
    calibration, _ = split_samples(trace, test)
    found = find_plan(
        opened, trace, calibration, progress, budget, method, per_head, objective, freeze
    )
    path = out or run / RUN_PLAN_FILE
    written = FoundPlan(
        found, path, path.with_suffix(".search.json"), path.with_suffix(".front.png")
    )
    found.plan.save(path)
    report = SearchReport.of(found)
    report.save(written.report)
    save_figure(front_figure(report), written.figure)
    return written


def find_plan(
    opened: LoadedModel,
    trace: Trace,
    calibration: Sequence[Sample],
    progress: Progress,
    budget: Budget | None = None,
    method: Method | None = None,
    per_head: bool = False,
    objective: Objective = "flops",
    freeze: bool = False,
) -> SearchResult:
    """Search the cheapest plan whose budget holds on the calibration samples.

    Args:
        opened: the dense model that was traced.
        trace: of the pathways that may be removed.
        calibration: samples on which each step is checked.
        progress: shows the search.
        budget: what may be lost, or has to be saved; `Budget.default` if None.
        method: what ranks the candidates; if None the trace, or gradients where there are more than
            `ALL_ALONE`.
        per_head: whether pathways may also be removed in single KV heads.
        objective: what to reduce where no budget is given.
        freeze: whether states may also be frozen (`prune.layout.freezing`).

    Raises:
        UsageError: the budget limits nothing of some samples, or gates have no options to learn on.
        BadInputError: no calibration sample can be used, or the trace holds no removable pathway.
    """
    open_ones = sum(sample.is_open for sample in calibration)
    counts = len(calibration) - open_ones, open_ones
    if budget is None:
        budget = replace(Budget.default(*counts), objective=objective)
    budget.check(*counts)
    if method is Method.GATES:
        need_options(calibration, "--method gates")
    replying = Replying.of(trace.header["asking"])
    frames = trace.frame_counts
    with progress("Reading calibration clips", len(frames) * len(calibration)) as advance:
        prepared = calibrate_at(opened, calibration, frames, advance, replying)
    if method is Method.GATES:
        settings = GateSettings()
        with progress("Learning gates", settings.steps) as advance:
            gates = learn_gates(prepared.batches, opened.id, settings, lambda loss: advance(1))
        harm = harm_of(gates)
    else:
        harm = {p.name: trace.harm(p.name) for p in trace.pathways() if p in SEARCHED}
    if not harm:
        raise BadInputError(
            f"{trace.run}: holds no pathway that a plan can remove: trace without --pathway"
        )
    ranked = candidates(harm)
    if method is None:
        method = Method.SCREEN if len(ranked) > ALL_ALONE else Method.TRACE
    mending = budget.objective == "hallucination"
    problem = prepared.mending_problem() if mending else prepared.problem()
    problem = replace(problem, freezing=freeze)
    if method is Method.SCREEN:
        screen = PlanScreen(prepared.ranking, opened.processor, problem.dense.samples)
        problem = replace(problem, foresee=screen)
    passes = MAX_RUNS + len(harm)
    # Once for all batches of all passes, since it looks at every module.
    with (
        seam(opened.model),
        progress("Searching a plan", passes * prepared.score.samples) as advance,
    ):
        found = search(
            problem,
            ranked,
            budget,
            max_runs=MAX_RUNS,
            method=method.value,
            heads=opened.id.num_kv_heads if per_head else None,
            on_step=lambda step: advance(step.score.samples),
        )
        advance(0, found.ended)
        return found
