"""`prune lens`: the hidden states of the dense model, as words, answers and attention maps."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import (
    Cue,
    Data,
    DrawSeed,
    Frames,
    Limit,
    MaxFailed,
    Model,
    PerTask,
    Positions,
    Prompt,
    System,
    Tasks,
    command,
    names,
    report_failed,
)
from prune.cli.console import out
from prune.cli.loading import Device, Dtype
from prune.cli.media import takes_media
from prune.cli.progress import progress
from prune.inputs.max_failed import MAX_FAILED
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE
from prune.workflows.options import Which


@command(
    "prune lens tiny --data clips/calibration.jsonl --limit 24 --out lens",
    "looking-inside.md",
)
@takes_media
def lens(
    model: Model,
    data: Data,
    target: Annotated[
        Path, typer.Option("--out", help="Folder; a survey that was stopped resumes.")
    ],
    limit: Limit = None,
    per_task: PerTask = None,
    tasks: Tasks = None,
    seed: DrawSeed = 0,
    frames: Frames = 8,
    cue: Cue = ANSWER_CUE,
    system: System = None,
    prompt: Prompt = None,
    media: Media = DEFAULT_MEDIA,
    samples: Annotated[Which, typer.Option(help="Which answers are shown.")] = Which.CORRECT,
    words: Annotated[
        str | None,
        typer.Option(
            help='JSON file of words to look for on video tokens, {"group": \\["word", ...]}, or '
            "[bold]tiny[/bold] or [bold]map-the-flow[/bold], or spacy:PIPELINE for the nouns and "
            "verbs of the data (default: its words in questions and in options)."
        ),
    ] = None,
    norm: Annotated[
        bool, typer.Option(help="Apply the final norm to the states of video tokens.")
    ] = True,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Read video tokens with the input embeddings.")
    ] = False,
    top: Annotated[
        int,
        typer.Option(min=1, help="Most likely tokens listed per video token of a --sample."),
    ] = 5,
    bin_size: Annotated[
        int | None, typer.Option("--bin", min=1, help="Layers in a bin (default: an eighth).")
    ] = None,
    min_hits: Annotated[
        int, typer.Option(min=1, help="Least number of hits of a word in the figure.")
    ] = 20,
    sample: Annotated[
        list[str] | None,
        typer.Option(help="Id of a sample whose words and attention are drawn; repeat for more."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose attention: a prompt word (word:last is no position), a position, or last; "
            "repeat for more."
        ),
    ] = None,
    knockout: Annotated[
        str, typer.Option(help="Pathway removed for the second attention map.")
    ] = "cross_frame",
    layers: Annotated[
        str | None, typer.Option(help="Layers in which it is removed, such as 6-15 (default: all).")
    ] = None,
    heads: Annotated[str, typer.Option(help="mean, max, or the number of a head.")] = "mean",
    device: Device = None,
    dtype: Dtype = None,
    positions: Positions = None,
    max_failed: MaxFailed = MAX_FAILED,
) -> None:
    """Read the model's states as words and answers, layer by layer, and draw its attention."""
    from prune.journal.processes import processes
    from prune.workflows.lens import lens_model

    found = lens_model(
        model,
        data,
        target,
        progress,
        limit=limit,
        per_task=per_task,
        tasks=names(tasks),
        seed=seed,
        num_frames=frames,
        cue=cue,
        system=system or "",
        prompt=prompt or "",
        media=media,
        which=samples,
        words=words,
        norm=norm,
        embedding=embedding,
        top=top,
        bin_size=bin_size,
        min_hits=min_hits,
        portraits=sample or (),
        queries=query or ("last",),
        knockout=knockout,
        layers=layers,
        heads=heads,
        device=device,
        dtype=dtype or "auto",
        positions=positions,
    )
    if not processes().is_main_process:
        return
    if found.figures:
        out.print(f"{found.shown} of {len(found.survey.records)} samples shown")
        out.print(f"Figures  {', '.join(map(str, found.figures))}")
    else:
        out.print(f"no sample is answered {samples}ly: no figures (see --samples)")
    for folder in found.portraits:
        out.print(f"Sample   {folder}")
    if found.silent_words:
        out.print(f"No token distinguishes these words: {', '.join(found.silent_words)}")
    report_failed(found.survey.failed, len(found.survey.records), max_failed)
