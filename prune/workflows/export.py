"""The workflow of `prune export`: a plan, measured and saved with the model that runs under it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from prune.checkpoint.load import open_model, resolve
from prune.errors import BadInputError, UsageError
from prune.inputs.draw import draw_samples
from prune.inputs.frame_counts import frame_counts
from prune.inputs.max_failed import MAX_FAILED, check_failed
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.sample import Sample
from prune.io.files import sha256_of_each
from prune.journal.progress import Progress, silent
from prune.journal.records import check_traced
from prune.plan.budget import Budget, Objective
from prune.plan.keep import keep_plan
from prune.plan.model_id import Positions
from prune.plan.plan import Plan
from prune.report.leak_paths import unseen
from prune.results.export_result import Result
from prune.trace.trace import Trace
from prune.workflows.asked import Reading, told_words
from prune.workflows.measure_frames import measure_at
from prune.workflows.plan import find_plan
from prune.workflows.select import of_tasks
from prune.workflows.split import split_samples
from prune.workflows.write_export import check_target, export


def export_model(
    model: str | Path,
    out: Path,
    progress: Progress = silent,
    *,
    run: Path | None = None,
    test: Path | None = None,
    plan: Plan | None = None,
    keep: str | None = None,
    budget: Budget | None = None,
    objective: Objective = "flops",
    freeze: bool = False,
    num_frames: int | Sequence[int] | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    limit: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    max_failed: str = MAX_FAILED,
    force: bool = False,
    argv: str = "",
    device: str | None = None,
    dtype: str | None = None,
    positions: Positions | None = None,
) -> Result:
    """Search a plan (unless one is given), measure it on held-out samples and export the model.

    A plan that cuts the video, the question or the options off is exported too, with a warning.

    Args:
        model: folder, hub id or embedded model; its weights are copied.
        out: the new model folder.
        progress: shows each step.
        run: the run folder of a trace; a search needs it, and reports show its flow map.
        test: JSONL of held-out samples; see `prune.workflows.split`.
        plan: exported instead of a searched one.
        keep: the plan of this text instead (`prune.plan.keep`).
        budget: of the search; `Budget.default` if None.
        objective: of the search, where no budget is given.
        freeze: whether the search may also freeze states (`prune.layout.freezing`).
        num_frames: frames of every clip, or several numbers, at each of which the plan is
            measured; as in the trace, or 8, if None.
        cue, system, prompt, media: how samples are asked and read; as in the trace where
            nothing is said.
        tasks: report on samples of these tasks alone.
        limit, per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        max_failed: samples that may fail (`prune.inputs.max_failed.check_failed`).
        force: replace an earlier export.
        argv: the command, for the report.
        device, dtype: as `device_map` and `dtype` of `prune.load`; the precision is that of the
            trace, or of the stored weights, if None.
        positions: whose rule gives text its positions; as in the trace or the plan if None.

    Returns:
        What was measured; the same as in `prune_report.json`.

    Raises:
        UsageError: there is neither a plan nor what a search needs, or nothing to report on.
        TooManyFailedError: more samples failed than `max_failed` allows; nothing is written.
        RefusedError: `out` must not be written, or plan or trace are of another model.
        BadInputError: there are no held-out samples, or a file cannot be read.
        ResourceError: the disk is full or cannot be written.
    """
    if sum(given is not None for given in (plan, keep, budget)) > 1:
        raise UsageError("a budget and a plan: give one of them")
    if plan is None and keep is None and run is None:
        raise UsageError("a search needs --trace RUN (or give --plan, --preset or --keep)")
    if run is None and test is None:
        raise UsageError("without --trace, give --test: the report needs held-out questions")
    trace = Trace.load(run) if run is not None else None
    # First of all, so that nobody waits for a model or a search whose result cannot be written.
    check_target(resolve(model), out, force)
    if positions is None and (made := trace.model if trace else plan and plan.model):
        positions = made.positions
    dtype = dtype or (trace.header["dtype"] if trace else "auto")
    opened = open_model(model, device, dtype, dense=True, positions=positions)
    if keep is not None:
        plan = keep_plan(keep, opened.id)
    if trace is not None:
        check_failed(trace.failed, len(trace.records), max_failed)
        check_traced(trace.header, opened, trace.run)
    calibration, held_out = split_samples(trace, test, cue, media, system, prompt)
    if tasks is not None:
        held_out = of_tasks(held_out, tasks, test or out)
    held_out = draw_samples(held_out, limit, per_task, seed)
    if not held_out:
        raise BadInputError(
            "no held-out questions to report on: give --test FILE, or trace with a --limit"
        )
    traced = trace.frame_counts if trace else (8,)
    counts = frame_counts(traced if num_frames is None else num_frames)
    found = None
    if plan is None and trace is not None:
        found = find_plan(
            opened, trace, calibration, progress, budget, objective=objective, freeze=freeze
        )
        plan = found.plan
    assert plan is not None, "checked above"
    plan = plan.with_model(opened.id)
    asked = all(sample.is_open for sample in held_out)
    for name in [name for name in unseen(plan.reach) if not (asked and name == "options")]:
        warnings.warn(
            f"under the plan {plan.name!r} no path leads from the {name} to the answer: the pruned "
            "model cannot see it",
            stacklevel=2,
        )
    result = measure_at(opened, plan, held_out, counts, progress, trace, found, argv)
    check_failed(result.failed, len(held_out), max_failed)
    files = {"calibration data": trace.data if trace else None, "test data": test}
    asked_as = _asked(held_out[0], int(result.conditions["frames"]))
    conditions = {**result.conditions, **_sources(files), **asked_as}
    result = replace(result, conditions=conditions)
    export(opened, plan, result, out, force)
    return result


def _sources(files: Mapping[str, Path | None]) -> dict[str, str]:
    """The day, and name and SHA-256 of each data file, for the report."""
    known = {what: path for what, path in files.items() if path is not None}
    hashes = zip(known.items(), sha256_of_each(list(known.values())), strict=True)
    named = {what: f"{path.name}, SHA-256 {digest}" for (what, path), digest in hashes}
    return {"date": date.today().isoformat(), **named}


def _asked(sample: Sample, num_frames: int) -> dict[str, str]:
    """How samples were asked and read, for the report."""
    return {**told_words(sample), **Reading(num_frames, sample.media).told}
