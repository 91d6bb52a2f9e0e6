"""`prune bench`: an export beside its dense self, or beside another model."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prune.bench.capacity import capacity
from prune.bench.conditions import conditions
from prune.bench.latency import latency
from prune.bench.shapes import shape_of
from prune.bench.side import DENSE, Side, sides
from prune.checkpoint.load import open_model
from prune.errors import RefusedError
from prune.inputs.encode import read
from prune.inputs.samples import load_samples
from prune.journal.progress import Progress
from prune.layout.segments import segment
from prune.plan.cost import Geometry
from prune.plan.plan import PLAN_FILE, Plan
from prune.results.latency import BenchRow


def bench_export(
    folder: str,
    data: Path,
    frames: Sequence[int],
    batches: Sequence[int],
    runs: int,
    progress: Progress,
    against: str | None = None,
) -> tuple[list[BenchRow], dict[str, str]]:
    """Measure an exported model on the first request of a data set.

    Args:
        folder: the export.
        data: JSONL.
        frames: numbers of frames, each measured.
        batches: sizes of the batches.
        runs: timed runs of a single request.
        progress: shows it.
        against: the dense model, if it is not the export without its plan.

    Returns:
        The measurements, and their conditions.

    Raises:
        RefusedError: the folder has no plan.
    """
    sample = load_samples(data)[0]
    opened = open_model(folder, dense=True)
    if not (opened.folder / PLAN_FILE).is_file():
        raise RefusedError(f"{folder}: has no {PLAN_FILE}: bench what prune export wrote")
    plan = Plan.load(opened.folder / PLAN_FILE)
    plan.check_model(opened.id)
    compared: tuple[Side, ...] = sides(opened.model, opened.processor, plan)
    if against is not None:
        other = open_model(against, dense=True)
        compared = (Side(DENSE, other.model, other.processor), compared[1])
    geometry = Geometry.of(opened.model)
    found = []
    for count in frames:
        prompt = segment(opened.processor, read(opened.processor, [sample], count))
        with progress(f"Timing {count} frames", runs) as advance:
            times = latency(compared, sample, count, runs, advance)
        with progress(f"Batches of {count} frames", len(batches) * len(compared)) as advance:
            rows = capacity(compared, sample, count, batches, advance)
        found.append(BenchRow(shape_of(plan.reach, prompt, geometry, count), times, rows))
    return found, conditions(opened.model, plan=plan.sha256[:12], runs=str(runs))


def write_csv(path: Path, benched: Sequence[BenchRow], where: dict[str, str]) -> None:
    """One line a measurement: what, of which side, at how many frames and requests, and where."""
    lines = []
    for at in benched:
        prompt = {"frames": at.shape.frames, "tokens": at.shape.tokens}
        for row in at.latency:
            values = {"unit": "ms", **asdict(row), "batch": 1}
            lines.append({**prompt, **values})
        for held in at.capacity:
            for what, unit, value in (
                ("throughput", "tokens/s", held.tokens_per_second),
                ("KV cache", "bytes", held.kv_bytes),
                ("peak memory", "bytes", held.peak_bytes),
                ("energy", "J", held.joules),
            ):
                if value is not None:
                    line = {"what": what, "unit": unit, "model": held.model, "batch": held.batch}
                    lines.append({**prompt, **line, "median": value, "runs": 1})
    columns = ["frames", "tokens", "batch", "what", "unit", "model", "median", "p20", "p80", "runs"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, *where], restval="")
        writer.writeheader()
        writer.writerows({**line, **where} for line in lines)
