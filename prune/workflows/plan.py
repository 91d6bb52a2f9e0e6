"""From a model, a trace and a budget to a plan; from a plan and held-out samples to a `Result`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError
from prune.evaluate.calibration import calibrate
from prune.inputs.samples import Sample, load_samples
from prune.journal.progress import Progress
from prune.layout.pathways import REMOVABLE
from prune.learn.gates import GateSettings, harm_of, learn_gates
from prune.plan.budget import Budget
from prune.plan.moves import candidates
from prune.plan.search import search
from prune.plan.search_result import SearchResult
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
    opened: LoadedModel,
    trace: Trace,
    calibration: Sequence[Sample],
    progress: Progress,
    budget: Budget,
    method: Method = "trace",
    per_head: bool = False,
) -> SearchResult:
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
        recipe = GateSettings()
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
