"""The workflow of `prune demo`: clips, trace, search, export, report and timing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from prune.journal.progress import Progress, silent
from prune.plan.budget import Budget
from prune.results.export_result import Result
from prune.tiny.benchmark import write_benchmark
from prune.workflows.bench import Benchmark, bench_export
from prune.workflows.export import export_model
from prune.workflows.trace import trace_model


@dataclass(frozen=True)
class Demo:
    """What the demo of a model draws and asks for.

    Attributes:
        task_set: what the clips are about, a name in `prune.tiny.task_sets.TASK_SETS`.
        clips: drawn per task, by split.
        traced: samples traced, of all tasks together.
        lengths: frames at which the export is timed: as in training, and longer.
        max_drop: points of expected accuracy that the plan may lose on the calibration clips.
    """

    task_set: str
    clips: Mapping[str, int]
    traced: int
    lengths: tuple[int, ...]
    max_drop: float


DEMOS = {
    "tiny": Demo("shapes", {"calibration": 96, "test": 100}, 72, (8, 64), 0.5),
    # Twice the tasks, and no more than 512 tokens.
    "tiny-deep": Demo("events", {"calibration": 48, "test": 50}, 72, (8, 32), 1.0),
}


def run_demo(
    model: str, out: Path, seed: int = 0, progress: Progress = silent, argv: str = ""
) -> tuple[Result, Path, Benchmark]:
    """Draw clips, trace a model, search a plan, measure it, export the model, report and time it.

    A second run keeps the clips, resumes the trace and replaces the export. All of it runs on one
    thread: at the width of these models a second one takes more CPU time than it saves.

    Args:
        model: a name in `DEMOS`.
        out: the working folder.
        seed: which clips are drawn.
        progress: shows each step.
        argv: the command, for the report.

    Returns:
        The result, the exported folder, and its times by length.
    """
    with one_thread():
        return _run(model, out, seed, progress, argv)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run(
    model: str, out: Path, seed: int, progress: Progress, argv: str
) -> tuple[Result, Path, Benchmark]:
    asked, mark = DEMOS[model], "" if model == "tiny" else f"-{model}"
    clips, run = out / f"clips{mark}-{seed}", out / f"run{mark}-{seed}"
    exported = out / f"{model}-pruned"
    with progress("Drawing clips", len(asked.clips)) as advance:
        for split, per_task in asked.clips.items():
            if not (clips / f"{split}.jsonl").is_file():
                write_benchmark(clips, split, per_task, seed, asked.task_set)
            advance(1)
    trace_model(model, clips / "calibration.jsonl", run, progress, limit=asked.traced)
    result = export_model(
        model,
        exported,
        progress,
        run=run,
        test=clips / "test.jsonl",
        budget=Budget("max_drop", asked.max_drop),
        force=True,
        argv=argv,
    )
    benched = bench_export(
        exported, clips / "test.jsonl", progress, frames=asked.lengths, batches=(1,), report=True
    )
    return result, exported, benched
