"""`prune explain`: which frames and regions an answer rests on."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prune.cli.app import Data, Frames, Model, app, report_failed
from prune.cli.commands.trace import Which
from prune.cli.console import err, out
from prune.errors import UsageError

if TYPE_CHECKING:
    from prune.evidence.explain import ExplainSettings
    from prune.inputs.samples import Sample


@app.command()
def explain(
    model: Model,
    data: Data,
    run: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run goes on.")],
    sample: Annotated[
        list[str] | None, typer.Option(help="Id of a sample to explain; repeat for more.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Only these tasks of the data.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    samples: Annotated[Which, typer.Option(help="Which answers to explain.")] = Which.all,
    target: Annotated[
        str,
        typer.Option(
            help="answer, sentence, word:TEXT, tokens:0,2, counter:LETTER, right (the true "
            "option in place of a wrong answer), or other (of two options the one not chosen)."
        ),
    ] = "answer",
    regions: Annotated[
        str, typer.Option(help="grid, frames, superpixels, tubes, or coarse (frames, then cells).")
    ] = "grid",
    count: Annotated[int, typer.Option(min=1, help="Regions of a frame, about.")] = 9,
    align: Annotated[
        bool, typer.Option("--align", help="Regions follow the model's token grid.")
    ] = False,
    removal: Annotated[
        str, typer.Option(help="masked (visual tokens), or pixels: black, mean, blur.")
    ] = "masked",
    search: Annotated[str, typer.Option(help="full, doubling, efficient or lazy.")] = "doubling",
    frames: Frames = 8,
    endpoint: Annotated[
        str,
        typer.Option(help="URL of /v1/chat/completions that serves MODEL; key in OPENAI_API_KEY."),
    ] = "",
    sampled: Annotated[
        int, typer.Option(min=0, help="Continuations to sample where it has no logprobs.")
    ] = 0,
) -> None:
    """Find the frames and regions that an answer rests on, and draw them."""
    from prune.cli.tables.evidence import scores_table, summary_lines, treatment_line
    from prune.cli.tasks import of_tasks
    from prune.evidence.explain import ExplainSettings
    from prune.evidence.remote import Endpoint
    from prune.inputs.samples import load_samples
    from prune.io.files import write_atomically
    from prune.journal.processes import processes
    from prune.report.figures.evidence import evidence_figure
    from prune.report.figures.style import save_figure
    from prune.report.figures.treatment import treatment_figure
    from prune.workflows.explain import explain_samples, summary, treatment_of

    if endpoint and removal == "masked":
        removal = "black"
    settings = ExplainSettings(regions, count, removal, search, target, frames, align)
    chosen = of_tasks(load_samples(data), tasks, data)
    if sample:
        known = {s.id: s for s in chosen}
        missing = [name for name in sample if name not in known]
        if missing:
            raise UsageError(f"--sample: {data} has no sample {', '.join(missing)}")
        chosen = [known[name] for name in sample]
    chosen = chosen[:limit]
    if endpoint:
        remote = Endpoint(endpoint, model, os.environ.get("OPENAI_API_KEY", ""), sampled)
        identity: dict[str, Any] = {"model": {"endpoint": endpoint, "name": model}}
        open_one: Any = partial(_open_remote, remote, settings)
    else:
        open_one, identity = _at_hand(model, settings)

    def draw(case: Any, found: Any, record: dict[str, Any]) -> None:
        figure = evidence_figure(record, case.frames, found.regions.labels, found.saliency)
        name = figure_name(record["id"])
        save_figure(figure, run / f"{name}.png")
        write_atomically(run / f"{name}.json", json.dumps(record, indent=1) + "\n")

    with _progress(-(-len(chosen) // processes().num_processes)) as (on_step, on_done):
        records = explain_samples(
            open_one, identity, chosen, run, settings, which=samples.value,
            draw=draw, on_step=on_step, on_done=on_done,
        )  # fmt: skip
    if not processes().is_main_process:
        return
    found = summary(records)
    treated = treatment_of(records)
    if treated is not None:
        found["treatment"] = asdict(treated)
        save_figure(treatment_figure(treated), run / "treatment.png")
    write_atomically(run / "summary.json", json.dumps(found, indent=2) + "\n")
    out.print(scores_table(found))
    for name, line in summary_lines(found).items():
        out.print(f"{name}  {line}")
    if treated is not None:
        out.print(f"Treatment  {treatment_line(treated)}")
    shown = next(r["id"] for r in records if "scores" in r)
    out.print(
        f"Figures  {run}/*.png, such as {figure_name(shown)}.png\nNumbers  {run}/summary.json"
    )
    report_failed(found["failed"])


def _at_hand(model: str, settings: "ExplainSettings") -> tuple[Any, dict[str, Any]]:
    """What opens a sample of a model folder, under its plan if it has one, and whose it is."""
    from prune.checkpoint.load import open_model
    from prune.evidence.case import open_case
    from prune.plan.plan import PLAN_FILE, Plan

    opened = open_model(model, dense=True)
    path = opened.folder / PLAN_FILE
    plan = Plan.load(path) if path.is_file() else None
    if plan is not None:
        plan.check_model(opened.id)
    identity = {
        "model": opened.id.model_dump(mode="json"),
        "plan": plan.sha256 if plan else None,
        "dtype": str(opened.model.dtype).removeprefix("torch."),
    }

    def open_one(sample: "Sample") -> Any:
        return open_case(
            opened.model, opened.processor, sample, settings.num_frames, settings.target, plan
        )

    return open_one, identity


def _open_remote(endpoint: Any, settings: "ExplainSettings", sample: "Sample") -> Any:
    from prune.evidence.remote_case import open_remote

    return open_remote(endpoint, sample, settings.num_frames, settings.target)


def figure_name(sample_id: str) -> str:
    """A file name for a sample, whatever its id holds."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", sample_id).strip(".-") or "sample"


@contextmanager
def _progress(
    total: int,
) -> Iterator[tuple[Callable[[int, int, float], None], Callable[[int], None]]]:
    """A bar over samples that also says how far the present one is, and its best F so far."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("Explaining", total=total, now="")

        def on_step(placed: int, regions: int, best: float) -> None:
            bar.update(task, now=f"region {placed} of {regions}, best F {best:.3f}")

        yield on_step, lambda n: bar.update(task, advance=n, now="")
