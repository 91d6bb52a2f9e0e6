"""`prune trace`: find the pathways."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, Frames, app, report_failed
from prune.cli.console import out, progress
from prune.errors import UsageError
from prune.trace.windows import Style


class Which(StrEnum):
    """Samples whose knockouts are run."""

    correct = "correct"
    wrong = "wrong"
    all = "all"


@app.command()
def trace(
    data: Data,
    run: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished trace goes on.")],
    model: Annotated[
        str | None, typer.Argument(help="A transformers folder, a hub id, tiny or tiny-ov.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Model, frames, tasks, pathways and window of a recipe, or of a .yaml."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    frames: Frames = 8,
    samples: Annotated[
        Which | None, typer.Option(help="Which answers to trace (default: correct).")
    ] = None,
    named_set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Pathways by the name of their set: all, cross-frame, paper, "
            "sealed, options, true-option, false-options, open-ended.",
        ),
    ] = None,
    pathway: Annotated[
        list[str] | None,
        typer.Option(
            help="What to knock out, such as 'video->question,options'; 'a->b + c->d' "
            "is cut together; repeat for more."
        ),
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also every two pathways together: their interaction.")
    ] = False,
    style: Annotated[Style, typer.Option(help="Layers that a knockout cuts.")] = Style.CENTRE,
    window: Annotated[
        int | None, typer.Option(min=1, help="Layers knocked out together (default: 9 of 32).")
    ] = None,
    per_head: Annotated[
        bool, typer.Option("--per-head", help="Cut one KV head at a time.")
    ] = False,
    prefix: Annotated[
        str | None, typer.Option(help="Ask without options; the reply begins with this.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="Ask without options; trace what this regular expression matches in the "
            "model's own reply."
        ),
    ] = None,
    verbs: Annotated[
        str | None, typer.Option(help="The same with verbs: a spaCy pipeline, or its folder.")
    ] = None,
    exact_reference: Annotated[
        bool, typer.Option("--exact-reference", help="The slow way: each knockout from the start.")
    ] = False,
    screen: Annotated[
        bool,
        typer.Option(
            "--screen", help="Rank by gradients, also by KV head; knock out what ranks highest."
        ),
    ] = False,
    top: Annotated[
        int, typer.Option(min=1, help="Of --screen: how many are knocked out, and as many others.")
    ] = 20,
    verify_all: Annotated[
        bool, typer.Option("--verify-all", help="Of --screen: knock out everything, to compare.")
    ] = False,
) -> None:
    """Find the pathways: knock out attention edges and watch the answer's probability."""
    from prune.checkpoint.load import open_model
    from prune.cli.screen import run_screen
    from prune.cli.tables.flow import flow_table
    from prune.journal.processes import processes
    from prune.trace.ask import ask
    from prune.trace.flow import flow_of
    from prune.trace.leaks import open_ways
    from prune.trace.sets import choose
    from prune.workflows.recipe import read_recipe
    from prune.workflows.trace import summarise, trace_model

    followed = read_recipe(recipe) if recipe is not None else None
    if followed is not None:
        model, frames = model or followed.model, followed.num_frames
        window, samples = window or followed.window, samples or Which(followed.samples)
        named_set = named_set or ([] if pathway else [followed.set])
    if model is None:
        raise UsageError("the recipe names no model: give MODEL" if followed else "give MODEL")
    asking = ask(prefix, anchor, verbs)
    openly = prefix is not None or anchor is not None or verbs is not None
    own = asking.identity["way"] == "own reply"
    if samples is not None and own:
        raise UsageError("--samples: a reply of the model's own is neither right nor wrong")
    if screen:
        if openly or pairs or per_head or exact_reference or style is not Style.CENTRE:
            raise UsageError(
                "--screen: goes with --limit, --frames, --samples, --set, --pathway and --window"
            )
        run_screen(
            open_model(model, dense=True),
            data,
            run,
            choose(named_set, pathway),
            limit=limit,
            num_frames=frames,
            which=(samples or Which.correct).value,
            window=window,
            top=top,
            verify_all=verify_all,
        )
        return
    if openly and not named_set and not pathway:
        named_set = ["open-ended"]
    opened = open_model(model, dense=True)
    if followed is not None:
        followed.check_model(opened.id)
    found = trace_model(
        opened,
        data,
        run,
        progress,
        limit=limit,
        window=window,
        num_frames=frames,
        which=(samples or Which.correct).value,
        exact_reference=exact_reference,
        pathways=choose(named_set, pathway, pairs),
        style=style,
        per_head=per_head,
        asking=asking,
        tasks=followed.tasks if followed else None,
    )
    if not processes().is_main_process:
        return
    summarise(found)
    counts = found.counts()
    right = f"{counts['cases']} anchors" if own else f"{counts['correct']} right"
    out.print(f"{counts['traced']} of {counts['samples']} samples traced ({right})")
    shown = flow_of(found)
    if shown.form == "once" and not own:
        shown = flow_of(found, "accuracy")
    out.print(flow_table(shown))
    around = open_ways(found.pathways(), found.model.num_layers)
    if around and around[0] != "video → last":
        out.print(f"Leaks   {len(around)} ways around these pathways, such as {around[0]}")
    out.print(f"Figure  {run / 'flow.png'}\nTable   {run / 'flow.csv'}")
    report_failed(found.failed)
