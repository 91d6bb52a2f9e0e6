"""The workflow of `prune demo`: draw clips, trace, search, export and report on `tiny`."""

from pathlib import Path

from prune.checkpoint.load import open_model
from prune.plan.budget import Budget
from prune.results.export_result import Result
from prune.tiny.benchmark import write_benchmark
from prune.workflows.export import export_model
from prune.workflows.plan import Progress
from prune.workflows.trace import summarise, trace_model

DEMO_CALIBRATION, DEMO_TEST = 96, 100
"""Clips of each task that the demo draws."""


DEMO_TRACED = 72
"""Samples that the demo traces, in all."""


DEMO_MAX_DROP = 0.5
"""Points of expected accuracy that the demo's plan may lose on its calibration clips."""


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
