"""The stages joined, from names and files to results: what the commands call."""

from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, RefusedError
from prune.plan.budget import Budget
from prune.plan.plan import Plan
from prune.results.export_result import Result
from prune.trace.trace import Trace
from prune.workflows.amend import amend
from prune.workflows.measure_plan import measure_plan
from prune.workflows.plan import Progress, find_plan, split_samples
from prune.workflows.write_export import check_target, export


def export_model(
    opened: LoadedModel,
    out: Path,
    progress: Progress,
    *,
    trace: Trace | None = None,
    test: Path | None = None,
    plan: Plan | None = None,
    budget: Budget | None = None,
    num_frames: int | None = None,
    force: bool = False,
    argv: str = "",
) -> Result:
    """Search a plan (unless one is given), measure it on held-out samples and export the model.

    Raises:
        RefusedError: `out` must not be written, or plan or trace are of another model.
        BadInputError: there are no held-out samples.
    """
    # First of all, so that nobody waits for a search whose result cannot be written.
    check_target(opened.folder, out, force)
    if trace is not None and trace.model.sha256 != opened.id.sha256:
        raise RefusedError(
            f"{trace.run}: traced {trace.model.name} ({str(trace.model.sha256)[:12]}), "
            f"not {opened.id.name} ({str(opened.id.sha256)[:12]})"
        )
    calibration, held_out = split_samples(trace, test)
    if not held_out:
        raise BadInputError(
            "no held-out questions to report on: give --test FILE, or trace with a --limit"
        )
    frames = num_frames or (trace.header["num_frames"] if trace else 8)
    found = None
    if plan is None:
        assert trace is not None and budget is not None
        found = find_plan(opened, trace, calibration, progress, budget)
        plan = found.plan
    plan = plan.with_model(opened.id)
    result = measure_plan(opened, plan, held_out, frames, progress, trace, found, argv)
    export(opened, plan, result, out, force)
    return result


def redraw(folder: Path) -> Path:
    """Draw `report.html` of an export again, from its JSON alone."""
    return amend(folder)
