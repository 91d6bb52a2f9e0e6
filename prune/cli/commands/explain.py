"""`prune explain`: the frames and regions that an answer rests on."""

import os
from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    DrawSeed,
    Limit,
    MaxFailed,
    Model,
    OwnCue,
    OwnFrames,
    PerTask,
    Positions,
    Prompt,
    System,
    command,
    names,
    report_failed,
)
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.needless import refuse
from prune.cli.progress import progress
from prune.errors import UsageError
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.workflows.options import Order, Regions, Removal, Which

OptionalData = Annotated[
    Path | None, typer.Option("--data", help="JSONL: id, media, question, options, answer, task.")
]

OF_DATA = ("sample", "tasks", "limit", "per_task", "seed", "samples", "max_failed")
"""Options that choose among the samples of a file."""


@command(
    "prune explain tiny --data clips/test.jsonl --limit 4 --out evidence",
    "explaining-an-answer.md",
)
@takes_media
def explain(
    context: typer.Context,
    model: Model,
    data: OptionalData = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Run folder; a run that was stopped resumes (default: NAME-evidence of an image).",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image to ask --question about, in place of --data; repeat for more."),
    ] = None,
    question: Annotated[str, typer.Option(help="An open question about --image.")] = "",
    sample: Annotated[
        list[str] | None, typer.Option(help="Id of a sample to explain; repeat for more.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Only these tasks of the data.")] = None,
    limit: Limit = None,
    per_task: PerTask = None,
    seed: DrawSeed = 0,
    samples: Annotated[Which, typer.Option(help="Which answers to explain.")] = Which.ALL,
    target: Annotated[
        str,
        typer.Option(
            help="answer, sentence, word:TEXT, phrase:TEXT, tokens:0,2-5, counter:LETTER (or WORD "
            "of an open reply), right (the true option in place of a wrong answer), or other (of "
            "two options the one not chosen)."
        ),
    ] = "answer",
    regions: Annotated[
        Regions | None,
        typer.Option(
            help="What is ordered; coarse: frames, then cells of those that matter "
            "(default: grid; superpixels of images)."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1, help="Approximate number of regions per frame (default: 9; images 64)."
        ),
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Regions follow the model's token grid.")
    ] = False,
    removal: Annotated[
        Removal | None,
        typer.Option(
            help="How a region is removed: its tokens masked, or its pixels filled "
            "(default: masked; black of images)."
        ),
    ] = None,
    search: Annotated[Order, typer.Option(help="How regions are ordered.")] = Order.DOUBLING,
    text: Annotated[
        bool,
        typer.Option("--text", help="Weigh the words of question and reply beside the video, too."),
    ] = False,
    frames: OwnFrames = None,
    cue: OwnCue = None,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    endpoint: Annotated[
        str,
        typer.Option(help="URL of /v1/chat/completions that serves MODEL; key in OPENAI_API_KEY."),
    ] = "",
    sampled: Annotated[
        int, typer.Option(min=0, help="Continuations to sample if it returns no logprobs.")
    ] = 0,
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Find the frames and regions that an answer rests on, and draw them."""
    if bool(image) == (data is not None) or bool(image) != bool(question):
        raise UsageError("give --data, or --image with --question")
    if run is None and not image:
        raise UsageError("--out: name the run folder")
    if image:
        refuse(context, OF_DATA, "leave it out with --image, which is one sample")
    from prune.cli.tables.evidence import scores_table, summary_lines, treatment_line
    from prune.inputs.samples import picture_sample
    from prune.journal.processes import processes
    from prune.workflows.explain import explain_model

    run = run or Path(f"{(image or [Path()])[0].stem}-evidence")
    found = explain_model(
        model,
        [picture_sample(image, question, media)] if image else data or Path(),
        run,
        progress,
        tasks=names(tasks),
        ids=sample,
        limit=limit,
        per_task=per_task,
        seed=seed,
        which=samples,
        target=target,
        regions=regions,
        count=count,
        align=align,
        removal=removal,
        search=search,
        num_frames=frames,
        cue=cue,
        system=system,
        prompt=prompt,
        media=media,
        endpoint=endpoint,
        api_key=os.environ.get("OPENAI_API_KEY", ""),
        sampled=sampled,
        device=device,
        dtype=dtype,
        positions=positions,
        text=text,
    )
    if not processes().is_main_process:
        return
    out.print(scores_table(found.summary))
    for name, line in summary_lines(found.summary).items():
        out.print(f"{name}  {line}")
    if found.treatment is not None:
        out.print(f"Treatment  {treatment_line(found.treatment)}")
    out.print(f"Figures  {run}/*.png, such as {found.figures[0].name}\nNumbers  {run}/summary.json")
    report_failed(found.summary["failed"], found.summary["samples"], max_failed)
