"""The workflow of `prune lens`: a survey of hidden states, and portraits of single samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.checkpoint.load import open_model
from prune.errors import UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, Wording
from prune.inputs.samples import need_options
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.layout.fine_role import MarkedRole
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import roles_of
from prune.lens.attention import pool_of
from prune.lens.portrait import View, portray
from prune.lens.states import Matrix
from prune.lens.survey import Survey, SurveySettings, survey
from prune.lens.vocabulary import Vocabulary, load_groups
from prune.plan.model_id import Positions
from prune.workflows.draw_lens import SURVEY_FIGURES, draw_portrait, draw_survey
from prune.workflows.select import by_id, select_samples


@dataclass(frozen=True)
class LensRun:
    """A finished survey and what was drawn of it.

    Attributes:
        survey: the records.
        shown: number of samples in the figures.
        figures: over samples; none if no sample is shown.
        portraits: folders with the figures of single samples.
        silent_words: words that no token distinguishes from others.
    """

    survey: Survey
    shown: int
    figures: list[Path]
    portraits: list[Path]
    silent_words: Sequence[str]


def lens_model(
    model: str | Path,
    data: Path,
    out: Path,
    progress: Progress = silent,
    *,
    limit: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_frames: int = 8,
    cue: str = ANSWER_CUE,
    system: str = "",
    prompt: str = "",
    media: Media = DEFAULT_MEDIA,
    which: str = "correct",
    words: str | Path | None = None,
    norm: bool = True,
    embedding: bool = False,
    top: int = 5,
    bin_size: int | None = None,
    min_hits: int = 20,
    portraits: Sequence[str] = (),
    queries: Sequence[str] = ("last",),
    knockout: str = "cross_frame",
    layers: str | None = None,
    heads: str = "mean",
    device: str | None = None,
    dtype: str = "auto",
    positions: Positions | None = None,
) -> LensRun:
    """Read the states of a dense model as words and answers, layer by layer, and draw them.

    Under `torchrun` the samples are split over its processes; the first one draws.

    Args:
        model: folder, hub id or embedded model.
        data: JSONL of the samples.
        out: folder of figures and tables; a survey in it that was stopped resumes.
        progress: shows the samples surveyed and the figures drawn.
        limit, per_task, tasks, seed: only some samples (`prune.inputs.draw`).
        num_frames: frames of every clip.
        cue: what a prompt ends with (`prune.inputs.samples.Sample`).
        system: a system prompt in front of the video; the chat template's own one if empty.
        prompt: a template of the user's words (`prune.inputs.templates`), if not empty.
        media: how clips are read of which the data says nothing.
        which: `correct`, `wrong` or `all`: the answers in the figures.
        words: what is looked for on video tokens (`prune.lens.vocabulary.load_groups`).
        norm: whether the final norm is applied to the states of video tokens.
        embedding: read video tokens with the input embeddings instead of the output ones.
        top: number of likeliest tokens listed for every video token of a portrait.
        bin_size: layers in a bin of the word figure, an eighth of all if None.
        min_hits: words that are said less often are left out of the figure.
        portraits: ids of the samples whose words and attention are drawn.
        queries: whose attention: prompt words, positions, or `last`.
        knockout: the pathway that is removed for the second attention map.
        layers: where it is removed, such as `6-15`, counted from 1; everywhere if None.
        heads: `mean`, `max`, or the number of a head, counted from 1.
        device, dtype: as `device_map` and `dtype` of `prune.load`.
        positions: whose rule gives text its positions (`prune.runtime.positions`).

    Raises:
        UsageError: the data has no such sample, or an option is not understood.
        BadInputError: no sample could be used, or a file cannot be read.
        NumericError: a state is NaN or infinite in all samples.
        RefusedError: `out` holds another survey.
    """
    wording = Wording(system, prompt=prompt)
    samples = select_samples(data, tasks, None, limit, cue, per_task, seed, media, wording)
    need_options(samples, "prune lens")
    chosen = by_id(samples, portraits, data)
    groups = load_groups(words, samples)
    pathway = find_pathway(knockout)
    if found := [role.mark for role in roles_of([pathway]) if isinstance(role, MarkedRole)]:
        raise UsageError(f"--knockout {knockout}: only prune trace finds {min(found)}")
    opened = open_model(model, device, dtype, dense=True, positions=positions)
    depth, text = opened.id.num_layers, opened.model.config.text_config
    view = View(
        queries, pathway, layer_range(layers, depth), pool_of(heads, text.num_attention_heads)
    )
    matrix: Matrix = "embedding" if embedding else "unembedding"
    settings = SurveySettings(num_frames, groups, norm, matrix)
    with progress("Looking", share_of(len(samples))) as advance:
        seen = survey(opened, out, samples, settings, advance)
    tokenizer = opened.processor.tokenizer
    vocabulary = Vocabulary.of(groups, tokenizer)
    shown = len(seen.chosen(which))
    folders: list[Path] = []
    if processes().is_main_process:
        size = bin_size or -(-depth // 8)
        with progress("Drawing", 1 + len(chosen)) as advance:
            if shown:
                draw_survey(out, seen, which, size, min_hits)
            advance(1)
            for sample in chosen:
                if sample.id not in seen.failed:
                    portrait = portray(opened, sample, settings, view, top)
                    folders.append(
                        draw_portrait(out, portrait, vocabulary, size, view, seen.header, tokenizer)
                    )
                advance(1)
    figures = [out / f"{name}.png" for name in SURVEY_FIGURES] if shown else []
    return LensRun(seen, shown, figures, folders, vocabulary.silent)


def layer_range(text: str | None, depth: int) -> list[int]:
    """Layers, counted from 0, of an inclusive range counted from 1, such as `6-15`.

    Args:
        text: the range; all layers if None.
        depth: L.

    Raises:
        UsageError: it is no range of the model's layers.
    """
    first, _, last = (text or f"1-{depth}").partition("-")
    try:
        start, stop = int(first), int(last or first)
    except ValueError:
        start = stop = 0
    if not 1 <= start <= stop <= depth:
        raise UsageError(f"--layers {text}: expected a range such as 1-{depth}")
    return list(range(start - 1, stop))
