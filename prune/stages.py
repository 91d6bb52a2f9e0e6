"""The stages joined, from names and files to results: what the commands call."""

from collections.abc import Sequence
from pathlib import Path

from prune.checkpoint.amend import amend
from prune.checkpoint.export import check_target, export
from prune.errors import BadInputError, RefusedError
from prune.evaluate.answers import BATCH, Answer, answer, prepare, under
from prune.measure.run import Progress, find_plan, measure_plan, split_samples
from prune.models import PLAN_FILE, Opened, open_model
from prune.pathways import dense_reach
from prune.plan.budget import Budget
from prune.plan.plan import Plan
from prune.plan.presets import PRESETS
from prune.report.figures.flow import write_flow
from prune.result import Result
from prune.samples import Sample
from prune.tiny.benchmark import write_benchmark
from prune.trace.flow import flow_of, paired
from prune.trace.run import trace_model
from prune.trace.table import write_table
from prune.trace.trace import Trace

PLAN = "plan.json"
DEMO_CALIBRATION, DEMO_TEST = 96, 100
"""Clips of each task that the demo draws."""

DEMO_TRACED = 72
"""Samples that the demo traces, in all."""

DEMO_MAX_DROP = 0.5
"""Points of expected accuracy that the demo's plan may lose on its calibration clips."""


def summarise(trace: Trace) -> None:
    """Write a trace's figures and tables into its run folder.

    They are `flow.png` and `.svg`, `flow.csv` and `.json`, and `pairs.*` if pairs were cut.
    """
    name = trace.model.name
    write_flow(trace.run, {name: flow_of(trace)})
    if paired(trace):
        write_flow(trace.run, {name: flow_of(trace, "interaction")}, "pairs")
    write_table(trace, trace.run)


def export_model(
    opened: Opened,
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


def run_demo(out: Path, seed: int, progress: Progress, argv: str = "") -> tuple[Result, Path]:
    """The whole way on `tiny`: draw clips, trace, search, measure, export, report.

    Running it again goes on with what is there: clips and trace are kept, the export is replaced.

    Args:
        out: the working folder.
        seed: which clips are drawn.
        progress: shows it.
        argv: the command, for the report.

    Returns:
        The result and the exported folder.
    """
    clips = out / f"clips-{seed}"
    splits = {"calibration": DEMO_CALIBRATION, "test": DEMO_TEST}
    with progress("Drawing clips", len(splits)) as advance:
        for split, per_task in splits.items():
            if not (clips / f"{split}.jsonl").is_file():
                write_benchmark(clips, split, per_task, seed)
            advance(1)
    opened = open_model("tiny")
    run, exported = out / f"run-{seed}", out / "tiny-pruned"
    trace = trace_model(opened, clips / "calibration.jsonl", run, progress, limit=DEMO_TRACED)
    summarise(trace)
    result = export_model(
        opened,
        exported,
        progress,
        trace=trace,
        test=clips / "test.jsonl",
        budget=Budget("max_drop", DEMO_MAX_DROP),
        force=True,
        argv=argv,
    )
    return result, exported


def evaluate_model(
    name: str, samples: Sequence[Sample], num_frames: int, progress: Progress
) -> tuple[list[Answer], dict[str, str]]:
    """Answers to samples, under the model's plan if it has one; and the samples that failed."""
    opened = open_model(name, dense=True)
    reach = dense_reach(opened.id.num_layers)
    if (opened.folder / PLAN_FILE).is_file():
        plan = Plan.load(opened.folder / PLAN_FILE)
        plan.check_model(opened.id)
        reach = plan.reach
    with progress("Reading clips", len(samples)) as advance:
        batches, failed = prepare(
            opened.model, opened.processor, samples, num_frames, BATCH, advance
        )
    if not batches:
        raise BadInputError(f"no sample could be used: {next(iter(failed.values()))}")
    with progress("Answering", len(samples)) as advance:
        answers = answer(opened.model, opened.processor, batches, under(reach), advance)
    return answers, failed


def redraw(folder: Path) -> Path:
    """Draw `report.html` of an export again, from its JSON alone."""
    return amend(folder)


def plan_of(what: str) -> Plan:
    """The plan of a plan file, a preset's name, an export or a run folder."""
    path = Path(what)
    if path.is_dir():
        for name in (PLAN_FILE, PLAN):
            if (path / name).is_file():
                return Plan.load(path / name)
        raise BadInputError(f"{path}: holds neither {PLAN_FILE} nor {PLAN}")
    if path.is_file():
        return Plan.load(path)
    if what in PRESETS:
        return Plan.preset(what)
    raise BadInputError(f"{what}: no such plan, folder or preset ({', '.join(PRESETS)})")
