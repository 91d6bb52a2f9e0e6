"""The workflow of `prune bench`: an export timed beside its dense self, or another model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prune.bench.capacity import RUNS, capacity
from prune.bench.conditions import conditions
from prune.bench.latency import latency
from prune.bench.shapes import shape_of
from prune.bench.side import DENSE, Side, sides
from prune.checkpoint.load import open_model
from prune.checkpoint.stored_plan import stored_plan
from prune.errors import RefusedError, UsageError
from prune.inputs.encode import read
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import load_samples
from prune.io.csv import write_csv
from prune.journal.progress import Progress, silent
from prune.layout.segments import segment
from prune.plan.cost import Geometry
from prune.plan.plan import PLAN_FILE
from prune.results.latency import BenchRow
from prune.workflows.amend import amend, is_export
from prune.workflows.asked import asked_as, read_as, told_words

COLUMNS = (
    "frames", "tokens", "batch", "what", "unit", "model", "median", "p20", "p80", "runs"
)  # fmt: skip
"""Of the table, before the conditions."""


@dataclass(frozen=True)
class Benchmark:
    """Measurements of an export.

    Attributes:
        rows: one per number of frames.
        conditions: device, versions and settings by name.
        page: the export's report, if it was amended.
    """

    rows: list[BenchRow]
    conditions: dict[str, str]
    page: Path | None


def bench_export(
    folder: str | Path,
    data: Path,
    progress: Progress = silent,
    *,
    frames: Sequence[int] = (),
    batches: Sequence[int] = (1, 4),
    runs: int = 20,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    against: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    table: Path | None = None,
    report: bool = False,
) -> Benchmark:
    """Measure an exported model on the first request of a data set.

    Args:
        folder: the export.
        data: JSONL of the samples.
        progress: shows the runs.
        frames: numbers of frames, each measured; the export's if there are none.
        batches: numbers of requests that run together.
        runs: timed runs of a single request.
        cue, system, prompt: how it is asked; as the export was where nothing is said
            (`prune.workflows.asked`).
        media: how its clip is read if the data does not say it, and as the export's were where
            nothing is said.
        against: the dense model, if it is not the export without its plan.
        device, dtype: as `device_map` and `dtype` of `prune.load`; the precision is that in which
            the export was measured if None.
        table: CSV file for every measurement.
        report: whether to put the measurements into the export's report.

    Raises:
        RefusedError: the folder has no plan.
        UsageError: the folder has no report to amend.
    """
    if report and not is_export(Path(folder)):
        raise UsageError(f"--report: {folder} holds no report of prune export")
    cue, wording = asked_as((folder,), cue, system, prompt)
    reading = read_as((folder,), None, media, dtype)
    sample = load_samples(data, cue, reading.media, wording)[0]
    opened = open_model(folder, device, reading.dtype, dense=True)
    plan = stored_plan(opened.folder, opened.id)
    if plan is None:
        raise RefusedError(f"{folder}: has no {PLAN_FILE}: bench what prune export wrote")
    compared: tuple[Side, ...] = sides(opened.model, opened.processor, plan)
    if against is not None:
        other = open_model(against, device, reading.dtype, dense=True)
        compared = (Side(DENSE, other.model, other.processor), compared[1])
    geometry = Geometry.of(opened.model)
    rows = []
    for count in frames or (reading.num_frames,):
        layout = segment(opened.processor, read(opened.processor, [sample], count))
        with progress(f"Timing {count} frames", runs) as advance:
            times = latency(compared, sample, count, runs, advance)
        total = len(batches) * len(compared) * RUNS
        with progress(f"Batches of {count} frames", total) as advance:
            held = capacity(compared, sample, count, batches, advance)
        rows.append(BenchRow(shape_of(plan.reach, layout, geometry, count), times, held))
    said = {name: str(value) for name, value in sample.reading.given.items()}
    said |= told_words(sample)
    where = conditions(opened.model, plan=plan.sha256[:12], runs=str(runs), **said)
    if table is not None:
        write_table(table, rows, where)
    page = None
    if report:
        page = amend(Path(folder), lambda r: replace(r, benched=tuple(rows), benched_on=where))
    return Benchmark(rows, where, page)


def write_table(path: Path, benched: Sequence[BenchRow], where: dict[str, str]) -> None:
    """Write one line per measurement, with its conditions, as CSV (`COLUMNS`)."""
    lines: list[dict[str, object]] = []
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
    write_csv(
        path,
        [*COLUMNS, *where],
        ([*(line.get(column, "") for column in COLUMNS), *where.values()] for line in lines),
    )
