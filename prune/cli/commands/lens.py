"""`prune lens`: look inside the dense model."""

from pathlib import Path
from typing import Annotated

import typer

from prune.cli.app import Data, Frames, Model, app, report_failed
from prune.cli.commands.trace import Which
from prune.cli.console import out, progress
from prune.errors import UsageError


@app.command()
def lens(
    model: Model,
    data: Data,
    target: Annotated[Path, typer.Option("--out", help="Folder; an unfinished survey goes on.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    frames: Frames = 8,
    samples: Annotated[Which, typer.Option(help="Which answers are shown.")] = Which.correct,
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
        int, typer.Option(min=1, help="Likeliest tokens listed of every video token of a --sample.")
    ] = 5,
    bin_size: Annotated[
        int | None, typer.Option("--bin", min=1, help="Layers in a bin (default: an eighth).")
    ] = None,
    min_hits: Annotated[
        int, typer.Option(min=1, help="Leave words out of the figure that are said less often.")
    ] = 20,
    sample: Annotated[
        list[str] | None,
        typer.Option(help="Id of a sample to draw words and attention of; repeat for more."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="Whose attention: a prompt word, a position, or last; repeat for more."),
    ] = None,
    knockout: Annotated[
        str, typer.Option(help="What is removed for the second attention map.")
    ] = "cross_frame",
    layers: Annotated[
        str | None, typer.Option(help="Where, such as 6-15 (default: in every layer).")
    ] = None,
    heads: Annotated[str, typer.Option(help="mean, max, or the number of a head.")] = "mean",
) -> None:
    """Read the model's states as words and answers, layer by layer, and draw its attention."""
    from prune.checkpoint.load import open_model
    from prune.inputs.samples import load_samples
    from prune.journal.processes import processes
    from prune.layout.pathways import find_pathway
    from prune.lens.attention import pool_of
    from prune.lens.portrait import View, portray
    from prune.lens.survey import SurveySettings, survey
    from prune.lens.vocabulary import Vocabulary, load_groups
    from prune.workflows.draw_lens import draw_portrait, draw_survey

    questions = load_samples(data)[:limit]
    known = {s.id: s for s in questions}
    if unknown := [name for name in sample or [] if name not in known]:
        raise UsageError(f"--sample: {data} has no sample {', '.join(unknown)}")
    groups = load_groups(words, questions)
    pathway = find_pathway(knockout)
    opened = open_model(model, dense=True)
    depth = opened.id.num_layers
    num_heads = opened.model.config.text_config.num_attention_heads
    view = View(query or ["last"], pathway, _layers(layers, depth), pool_of(heads, num_heads))
    settings = SurveySettings(frames, groups, norm, "embedding" if embedding else "unembedding")
    size = bin_size or -(-depth // 8)

    with progress("Looking", -(-len(questions) // processes().num_processes)) as advance:
        seen = survey(opened, target, questions, settings, advance)
    if not processes().is_main_process:
        return
    vocabulary = Vocabulary.of(groups, opened.processor.tokenizer)
    with progress("Drawing", 1 + len(sample or [])) as advance:
        if shown := len(seen.chosen(samples.value)):
            draw_survey(target, seen, samples.value, size, min_hits)
        advance(1)
        folders = []
        for name in sample or []:
            if name not in seen.failed:
                portrait = portray(opened, known[name], settings, view, top)
                tokenizer = opened.processor.tokenizer
                folders.append(
                    draw_portrait(target, portrait, vocabulary, size, view, seen.header, tokenizer)
                )
            advance(1)
    if shown:
        out.print(f"{shown} of {len(questions)} samples shown")
        out.print(
            f"Figures  {', '.join(f'{target / n}.png' for n in ('answers', 'exits', 'words'))}"
        )
    else:
        out.print(f"no sample is answered {samples.value}ly: no figures (see --samples)")
    for folder in folders:
        out.print(f"Sample   {folder}")
    if vocabulary.silent:
        out.print(f"No token tells these words from others: {', '.join(vocabulary.silent)}")
    report_failed(seen.failed)


def _layers(text: str | None, depth: int) -> list[int]:
    """Layers (0-based) of a 1-based inclusive range."""
    first, _, last = (text or f"1-{depth}").partition("-")
    try:
        start, stop = int(first), int(last or first)
    except ValueError:
        start = stop = 0
    if not 1 <= start <= stop <= depth:
        raise UsageError(f"--layers {text}: expected a range such as 1-{depth}")
    return list(range(start - 1, stop))
