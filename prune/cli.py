"""The `prune` command. Every sub-command parses, calls one stage, and prints what came out."""

import errno
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prune import __version__
from prune.console import (
    accuracy_table,
    err,
    latency_table,
    liveness_lines,
    out,
    plan_grid,
    progress,
    result_table,
)
from prune.errors import (
    BadInputError,
    PruneError,
    ResourceError,
    SamplesFailedError,
    UsageError,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Make a video language model cheaper by removing the attention edges it does not need.\n\n"
    "Start with [bold]prune demo[/bold]: it traces, prunes and reports on a small real model.",
)

Model = Annotated[
    str, typer.Argument(help="A transformers folder, a hub id, or [bold]tiny[/bold].")
]
Frames = Annotated[int, typer.Option(min=1, help="Frames sampled from every clip.")]
Data = Annotated[Path, typer.Option(help="JSONL: id, video, question, options, answer, task.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]


class Which(StrEnum):
    """Samples whose knockouts are run."""

    correct = "correct"
    wrong = "wrong"
    all = "all"


def _argv() -> str:
    return shlex.join(["prune", *sys.argv[1:]])


@app.callback(invoke_without_command=True)
def _root(
    debug: Debug = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        out.print(f"prune {__version__}")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Working folder.")] = Path("prune-demo"),
    seed: Annotated[int, typer.Option(help="Which clips are drawn.")] = 0,
) -> None:
    """Trace, prune and report on the model that ships with prune, in minutes on a laptop CPU."""
    from prune.stages import run_demo

    result, exported = run_demo(folder, seed, progress, _argv())
    out.print(result_table(result))
    out.print(f"\nPruned model  {exported}\nReport        {exported / 'report.html'}")


@app.command()
def clips(
    folder: Annotated[Path, typer.Option("--out", help="Where the clips and JSONL files go.")],
    per_task: Annotated[int, typer.Option(min=1, help="Clips of each of the six tasks.")] = 20,
    seed: Annotated[int, typer.Option(help="Which clips are drawn.")] = 0,
) -> None:
    """Write the benchmark of [bold]tiny[/bold]: MP4 clips with questions (calibration and test)."""
    from prune.tiny.benchmark import write_benchmark

    for split in ("calibration", "test"):
        out.print(write_benchmark(folder, split, per_task, seed))


@app.command()
def trace(
    model: Model,
    data: Data,
    run: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished trace goes on.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    window: Annotated[
        int | None, typer.Option(min=1, help="Layers knocked out together [default: 9 of 32].")
    ] = None,
    frames: Frames = 8,
    samples: Annotated[Which, typer.Option(help="Which answers to trace.")] = Which.correct,
    pathway: Annotated[
        list[str] | None,
        typer.Option(help="What to knock out, such as 'video->question,options'; repeat for more."),
    ] = None,
    exact_reference: Annotated[
        bool, typer.Option("--exact-reference", help="The slow way: each knockout from the start.")
    ] = False,
) -> None:
    """Find the pathways: knock out attention edges and watch the answer's probability."""
    from prune.models import open_model
    from prune.pathways import TRACED, find_pathway
    from prune.stages import trace_model
    from prune.trace.shares import process

    found = trace_model(
        open_model(model, dense=True),
        data,
        run,
        progress,
        limit=limit,
        window=window,
        num_frames=frames,
        which=samples.value,
        exact_reference=exact_reference,
        pathways=[find_pathway(text) for text in pathway] if pathway else TRACED,
    )
    if process()[0] > 0:
        return
    counts = found.counts()
    out.print(
        f"{counts['traced']} of {counts['samples']} samples traced "
        f"({counts['correct']} right)\nFigure  {run / 'flow.png'}"
    )
    _report_failed(found.failed)


@app.command()
def plan(
    run: Annotated[Path, typer.Argument(help="Run folder of [bold]prune trace[/bold].")],
    target: Annotated[
        Path | None, typer.Option("--out", help="Plan file [default: RUN/plan.json].")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model [default: the traced one].")] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Held-out JSONL of a later report; without it, samples are held back."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0, help="Points of accuracy that may be lost.")
    ] = None,
    density: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of edges to keep.")
    ] = None,
) -> None:
    """Search the plan that removes the most edges within a budget."""
    from prune.measure import find_plan, split_samples
    from prune.models import open_model
    from prune.trace.trace import Trace

    traced = Trace.load(run)
    opened = open_model(model or traced.model.name, dense=True)
    calibration, _ = split_samples(traced, test)
    budget = _budget(max_drop, density)
    found = find_plan(opened, traced, calibration, progress, **budget)
    path = target or run / "plan.json"
    found.plan.save(path)
    out.print(plan_grid(found.plan.reach))
    out.print("\n".join(liveness_lines(found.plan.reach)))
    best = [s for s in found.steps if s.accepted]
    if best:
        now, before = best[-1].score.accuracy, found.dense.accuracy
        out.print(
            f"{100 * best[-1].density:.1f}% of edges kept; accuracy on {len(calibration)} "
            f"calibration samples {now:.1f}% (dense {before:.1f}%)"
        )
    out.print(f"Plan  {path}")


def _budget(max_drop: float | None, density: float | None) -> dict[str, float | None]:
    if max_drop is not None and density is not None:
        raise UsageError("--max-drop and --density: give one of them")
    if max_drop is None and density is None:
        max_drop = 0.5
    return {"max_drop": max_drop, "density": density}


@app.command()
def export(
    model: Model,
    target: Annotated[Path, typer.Option("--out", help="The new model folder.")],
    run: Annotated[Path | None, typer.Option("--trace", help="Run folder of the trace.")] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Held-out JSONL for the report [default: half of what was not traced]."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Points of accuracy that may be lost [default: 0.5]."),
    ] = None,
    density: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of edges to keep.")
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="A plan file instead of a search.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A map of Map the Flow instead of a search.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The preset as printed, with its leak.")
    ] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of every clip [default: as traced, or 8].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Pick a plan, measure it on held-out questions, and save the model that runs under it."""
    from prune.models import open_model
    from prune.plan.plan import Plan
    from prune.stages import export_model
    from prune.trace.trace import Trace

    given = [x for x in (max_drop, density, plan_file, preset) if x is not None]
    if len(given) > 1:
        raise UsageError("--max-drop, --density, --plan and --preset: give one of them")
    if run is None and plan_file is None and preset is None:
        raise UsageError("a search needs --trace RUN (or give --plan or --preset)")
    if run is None and test is None:
        raise UsageError("without --trace, give --test: the report needs held-out questions")
    ready = None
    if plan_file is not None:
        ready = Plan.load(plan_file)
    elif preset is not None:
        ready = Plan.preset(preset, sealed=not published)
    traced = Trace.load(run) if run else None
    result = export_model(
        open_model(model, dense=True),
        target,
        progress,
        trace=traced,
        test=test,
        plan=ready,
        num_frames=frames,
        force=force,
        argv=_argv(),
        **(_budget(max_drop, density) if ready is None else {}),
    )
    out.print(result_table(result))
    out.print(f"\nPruned model  {target}\nReport        {target / 'report.html'}")
    _report_failed(result.failed)


@app.command("eval")
def evaluate(
    model: Model,
    data: Data,
    tasks: Annotated[
        str | None, typer.Option(help="Only these tasks of the data, separated by commas.")
    ] = None,
    frames: Frames = 8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
) -> None:
    """Answer a data set's questions; an exported folder answers under its plan."""
    from prune.samples import load_samples
    from prune.stages import evaluate_model

    samples = load_samples(data)
    if tasks is not None:
        wanted = set(tasks.split(","))
        unknown = wanted - {s.task for s in samples}
        if unknown:
            raise UsageError(f"--tasks: {data} has no task {', '.join(sorted(unknown))}")
        samples = [s for s in samples if s.task in wanted]
    answers, failed = evaluate_model(model, samples[:limit], frames, progress)
    out.print(accuracy_table(answers))
    _report_failed(failed)


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="An exported folder.")],
    data: Data,
    frames: Frames = 8,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each.")] = 20,
) -> None:
    """Time an exported model against dense SDPA on this machine, on the data's first prompt."""
    from prune.stages import bench_model

    out.print(latency_table(bench_model(model, data, frames, runs, progress)))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Draw report.html again from an export's prune_report.json and plan."""
    from prune.stages import redraw

    out.print(redraw(folder))


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="An exported folder.")]) -> None:
    """Check every file of an export against its manifest."""
    from prune.manifest import verify as verify_folder

    out.print(f"{verify_folder(folder)} files are as they were exported")


@app.command()
def inspect(
    what: Annotated[
        str,
        typer.Argument(help="A plan file, a preset's name, an exported folder or a run folder."),
    ],
) -> None:
    """Draw a plan as a grid of layers and pathways, and say what it leaves alive."""
    from prune.stages import plan_of

    shown = plan_of(what)
    out.print(f"[bold]{shown.name}[/bold]  for {shown.model.name}, {shown.num_layers} layers")
    out.print(plan_grid(shown.reach))
    out.print("\n".join(liveness_lines(shown.reach)))
    out.print(f"sha256 {shown.sha256}")


@app.command()
def env() -> None:
    """Show the versions and devices that matter for a bug report."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    out.print(f"prune {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in ("torch", "transformers", "triton", "av", "torchvision", "lm-eval"):
        try:
            out.print(f"{name} {version(name)}")
        except PackageNotFoundError:
            out.print(f"{name} not installed")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    out.print(f"GPUs: {', '.join(devices) or 'none'}; CPU threads: {torch.get_num_threads()}")


def _report_failed(failed: dict[str, str]) -> None:
    if failed:
        lines = "".join(f"\n  {name}: {reason}" for name, reason in failed.items())
        raise SamplesFailedError(f"{len(failed)} samples could not be used:{lines}")


def _fail(message: str, code: int) -> int:
    err.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    return code


def _run() -> int:
    try:
        return app(standalone_mode=False) or 0
    except PruneError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory: use fewer frames", ResourceError.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return _fail(f"{error.filename}: {error.strerror}", ResourceError.exit_code)
        return _fail(f"{error.filename}: {error.strerror}", BadInputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; finished work is kept, run the same command to go on", 130)
    except Exception as error:
        # Usage errors are click's, which typer brings under a name of its own.
        if hasattr(error, "format_message"):
            return _fail(error.format_message(), UsageError.exit_code)
        raise


def main() -> None:
    """Entry point: errors end in one line and their exit code, or a traceback with `--debug`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "--debug" in sys.argv:
        app()
    sys.exit(_run())
