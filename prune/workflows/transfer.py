"""The workflow of `prune transfer`: plans used on other tasks, frame counts and texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.evaluate.answers import under
from prune.evaluate.questions import Questions
from prune.evaluate.stats import paired_difference
from prune.inputs.samples import Sample, need_options
from prune.journal.progress import Progress, silent
from prune.layout.reach import dense_reach
from prune.plan.budget import Budget
from prune.report.figures.style import save_figure
from prune.report.figures.transfer import transfer_figure
from prune.results.answer import Answer
from prune.results.transfer_matrix import Cell, Transfer
from prune.trace.trace import Trace
from prune.workflows.plan import find_plan, open_traced
from prune.workflows.read_clips import read_clips
from prune.workflows.split import split_samples

ALL = "all"


@dataclass(frozen=True)
class Condition:
    """Held-out samples with the frame count and the text that a plan is used with."""

    name: str
    num_frames: int
    samples: tuple[Sample, ...]


def conditions(
    held_out: Sequence[Sample], num_frames: int, other_frames: Sequence[int]
) -> list[Condition]:
    """Every task, all tasks, all with other frame counts, and all with the question repeated."""
    every = tuple(held_out)
    tasks = sorted({sample.task for sample in every})
    found = [
        Condition(task, num_frames, tuple(s for s in every if s.task == task)) for task in tasks
    ]
    found.append(Condition(ALL, num_frames, every))
    found += [Condition(f"{count} frames", count, every) for count in other_frames]
    twice = tuple(replace(s, question=f"{s.question} {s.question}") for s in every)
    return [*found, Condition("longer text", num_frames, twice)]


@dataclass(frozen=True)
class TransferRun:
    """A transfer matrix and the files that hold and draw it."""

    transfer: Transfer
    matrix: Path
    figure: Path


def transfer_plans(
    run: Path,
    budget: Budget,
    progress: Progress = silent,
    *,
    model: str | Path | None = None,
    test: Path | None = None,
    other_frames: Sequence[int] = (),
    device: str | None = None,
    dtype: str | None = None,
) -> TransferRun:
    """Compute the transfer matrix of a run, and write and draw it into the run folder.

    Args:
        run: the run folder of a trace.
        budget: of every search.
        progress: shows each search and each condition.
        model: the traced model's folder, if it is no longer where it was traced.
        test: JSONL of held-out samples; see `prune.workflows.split`.
        other_frames: frame counts beside the traced one.
        device, dtype: as `device_map` and `dtype` of `prune.load`; the trace's precision if None.

    Raises:
        BadInputError: trace or samples cannot be read, or a condition has no usable sample.
    """
    trace = Trace.load(run)
    calibration, held_out = split_samples(trace, test)
    need_options([*calibration, *held_out], "prune transfer")
    opened = open_traced(trace, model, device, dtype)
    found = transfer(opened, trace, calibration, held_out, budget, progress, other_frames)
    written = TransferRun(found, run / "transfer.json", run / "transfer.png")
    found.save(written.matrix)
    save_figure(transfer_figure(found), written.figure)
    return written


def transfer(
    opened: LoadedModel,
    trace: Trace,
    calibration: Sequence[Sample],
    held_out: Sequence[Sample],
    budget: Budget,
    progress: Progress,
    other_frames: Sequence[int] = (),
) -> Transfer:
    """Search a plan on every task and on all, and use each under every condition.

    Args:
        opened: the dense model.
        trace: ranks the candidates of every search.
        calibration, held_out: samples to search on, and to use the plans on.
        budget: of every search.
        progress: shows each search and each condition.
        other_frames: frame counts beside the traced ones.

    Raises:
        BadInputError: no sample of a condition can be used.
    """
    tasks = sorted({sample.task for sample in calibration})
    found = {
        task: find_plan(
            opened, trace, [s for s in calibration if task in (ALL, s.task)], progress, budget
        )
        for task in ([*tasks, ALL] if len(tasks) > 1 else [ALL])
    }
    runs = {"dense": under(dense_reach(opened.id.num_layers))}
    runs |= {task: under(plan.plan.reach) for task, plan in found.items()}
    cells: list[Cell] = []
    first, *others = trace.frame_counts
    for condition in conditions(held_out, first, (*others, *other_frames)):
        batches, failed = read_clips(
            opened, condition.samples, condition.num_frames, progress, f"clips: {condition.name}"
        )
        asked = Questions(opened, condition.num_frames, batches, failed)
        with progress(f"Answering: {condition.name}", len(runs)) as advance:
            answers: dict[str, list[Answer]] = {}
            for name, run in runs.items():
                answers[name] = asked.ask(run)
                advance(1)
        answers = {name: asked.left(given) for name, given in answers.items()}
        before = answers.pop("dense")
        dense, videos = [a.correct for a in before], [a.video for a in before]
        cells += [
            Cell(
                task,
                condition.name,
                len(dense),
                100 * sum(dense) / len(dense),
                paired_difference(dense, [a.correct for a in given], videos),
            )
            for task, given in answers.items()
        ]
    flops = {task: plan.cost.flops / plan.dense_cost.flops for task, plan in found.items()}
    return Transfer(flops, tuple(cells))
