"""The workflow of `prune demo`: clips, trace, search, export, report and timing of `tiny`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from prune.journal.progress import Progress, silent
from prune.plan.budget import Budget
from prune.results.export_result import Result
from prune.tiny.benchmark import write_benchmark
from prune.workflows.bench import Benchmark, bench_export
from prune.workflows.export import export_model
from prune.workflows.trace import trace_model

MODEL = "tiny"

CLIPS = {"calibration": 96, "test": 100}
"""Clips drawn per task, by split."""

TRACED = 72
"""Samples traced, of all tasks together."""

LENGTHS = (8, 64)
"""Frames at which the export is timed: as it was trained, and as long as clips in use are."""

MAX_DROP = 0.5
"""Points of expected accuracy that the plan may lose on the calibration clips."""


def run_demo(
    out: Path, seed: int = 0, progress: Progress = silent, argv: str = ""
) -> tuple[Result, Path, Benchmark]:
    """Draw clips, trace `tiny`, search a plan, measure it, export the model, report and time it.

    A second run keeps the clips, resumes the trace and replaces the export. All of it runs on one
    thread: at the width of `tiny` a second one takes more CPU time than it saves.

    Args:
        out: the working folder.
        seed: which clips are drawn.
        progress: shows each step.
        argv: the command, for the report.

    Returns:
        The result, the exported folder, and its times by length.
    """
    with one_thread():
        return _run(out, seed, progress, argv)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run(out: Path, seed: int, progress: Progress, argv: str) -> tuple[Result, Path, Benchmark]:
    clips = out / f"clips-{seed}"
    with progress("Drawing clips", len(CLIPS)) as advance:
        for split, per_task in CLIPS.items():
            if not (clips / f"{split}.jsonl").is_file():
                write_benchmark(clips, split, per_task, seed)
            advance(1)
    run, exported = out / f"run-{seed}", out / "tiny-pruned"
    trace_model(MODEL, clips / "calibration.jsonl", run, progress, limit=TRACED)
    result = export_model(
        MODEL,
        exported,
        progress,
        run=run,
        test=clips / "test.jsonl",
        budget=Budget("max_drop", MAX_DROP),
        force=True,
        argv=argv,
    )
    benched = bench_export(
        exported, clips / "test.jsonl", progress, frames=LENGTHS, batches=(1,), report=True
    )
    return result, exported, benched
