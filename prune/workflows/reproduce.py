"""The workflow of `prune reproduce`: the figures and tables of Map the Flow for any model.

Each model is loaded once, each clip decoded once, and one journal holds what every figure needs, so
a run that was stopped resumes, and `torchrun` splits its samples.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prune.baselines.published import scaled_map
from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import UsageError
from prune.inputs.draw import draw_samples
from prune.inputs.encode import Clip
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING
from prune.inputs.samples import Sample, load_samples, need_options
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.journal.records import check_usable, identity, model_identity, recorded
from prune.journal.write import write_records
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import Pathway
from prune.lens.portrait import View, portray_clip
from prune.lens.query import LAST, WORD
from prune.lens.survey import SurveySettings
from prune.lens.vocabulary import Vocabulary, load_groups
from prune.plan.keep import kept_reach
from prune.plan.presets import Map, preset_map
from prune.results.reproduction import Reproduction
from prune.runtime.captured import Replay
from prune.trace.knockout import Knockouts
from prune.trace.sets import SETS
from prune.trace.windows import Style, default_window
from prune.workflows.draw_lens import draw_portrait
from prune.workflows.recipe import Recipe, read_recipe
from prune.workflows.recipe_cost import count_passes
from prune.workflows.reproduce_page import write_reproduction
from prune.workflows.reproduce_sample import (
    CROSS_FRAME,
    NUM_CONDITIONS,
    Measurement,
    Side,
    conditions,
)
from prune.workflows.select import of_tasks

SCHEMA_VERSION = 1
FOLDER = "journal"

ENDS = ("true_option_end->last", "false_options_end->last")


def pathways() -> tuple[Pathway, ...]:
    """Every pathway that is swept: published, closed, and the ends of options alone."""
    both = (*SETS["published"], *SETS["closed"], *map(find_pathway, ENDS))
    return tuple(dict.fromkeys(both))


def reproduce_model(
    model: str | Path | None,
    data: Path,
    out: Path,
    progress: Progress = silent,
    announce: Callable[[str], None] = lambda line: None,
    *,
    base: str | Path | None = None,
    recipe: str | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_frames: int | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    which: str | None = None,
    window: int | None = None,
    keep: str | None = None,
    words: str | Path | None = None,
    min_hits: int = 100,
    device: str | None = None,
    dtype: str = "auto",
    argv: str = "",
) -> Reproduction:
    """Measure and draw the paper's figures and tables (arXiv 2510.13251) into one page.

    Args:
        model: folder, hub id or embedded model; None for the recipe's.
        data: JSONL of questions with options.
        out: folder of the page; a run in it that was stopped resumes.
        progress: shows the samples measured.
        announce: is told what the run costs before it begins.
        base: the model that it was fine-tuned from, for figure 2.
        recipe: name or file of a recipe; what it says stands in for what is not given.
        limit, per_task, seed: a draw of samples (`prune.inputs.draw.draw_samples`).
        tasks: only samples of these tasks.
        num_frames, cue, system, prompt, media: how samples are read and asked, as in `prune trace`.
        which: `correct`, `wrong` or `all`: the answers whose knockouts are run.
        window: number of layers cut together, `default_window` if None.
        keep: a row of table 3 for the plan of this text as well (`prune.plan.keep`).
        words: what is looked for on video tokens (`prune.lens.vocabulary.load_groups`).
        min_hits: words said less often on video tokens are left out of figure 4.
        device, dtype: as `device_map` and `dtype` of `prune.load`, for both models.
        argv: the command, for the page.

    Raises:
        UsageError: there is no model, or a name in the options is unknown.
        BadInputError: no sample could be used, or a file cannot be read.
        RefusedError: `out` holds another reproduction, or the model is not the recipe's.
    """
    followed = read_recipe(recipe) if recipe is not None else None
    name = model or (followed.model if followed else None)
    if name is None:
        raise UsageError("the recipe names no model: give MODEL" if followed else "give MODEL")
    which = which or (followed.samples if followed else "correct")
    frames = num_frames or (followed.num_frames if followed else 8)
    samples = _samples(data, followed, cue, (system, prompt), media, tasks)
    samples = draw_samples(samples, limit, per_task, seed)
    need_options(samples, "prune reproduce")
    groups = load_groups(words, samples)
    tuned = open_model(name, device, dtype, dense=True)
    if followed is not None:
        followed.check_model(tuned.id)
        window = window or followed.window
    sides = [tuned]
    if base is not None:
        sides.append(open_model(base, device, dtype, dense=True))
    chosen = None if keep is None else kept_reach(keep, tuned.id.num_layers, tuned.id.num_kv_heads)
    for line in cost_lines(sides, len(samples), window, NUM_CONDITIONS + (chosen is not None)):
        announce(line)
    kept = _map(followed, tuned)
    settings = SurveySettings(frames, groups)
    first = {sample.task: sample for sample in reversed(samples)}
    measurement = Measurement(
        Side.of(tuned, _sweep(tuned, pathways(), window)),
        None if base is None else Side.of(sides[1], _sweep(sides[1], CROSS_FRAME, window)),
        conditions(tuned, kept, frames, chosen),
        settings,
        which,
        {s.id: _drawing(out, tuned, settings) for s in first.values()},
    )
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity(tuned, samples),
        "base": None if base is None else model_identity(sides[1]),
        "num_frames": frames,
        "which": which,
        "window": measurement.tuned.sweep.window,
        "base_window": measurement.base.sweep.window if measurement.base else None,
        "pathways": [pathway.name for pathway in pathways()],
        "conditions": [condition.name for condition in measurement.conditions],
        "kept": {"cross_frame": kept.cross_frame, "video_to_question": kept.video_to_question,
                 "question_to_last": kept.question_to_last},
        "groups": {key: list(listed) for key, listed in groups.items()},
        **({} if keep is None else {"keep": keep}),
    }  # fmt: skip
    header["kept"] = {key: list(layers) for key, layers in header["kept"].items()}
    each = recorded(measurement.record)
    with progress("Measuring", share_of(len(samples))) as advance:
        records = write_records(out / FOLDER, "reproduction", header, samples, each, advance)
    check_usable(records)
    if not processes().is_main_process:
        return Reproduction("", (), (), 0, {})
    portraits = [s.id for s in first.values() if "error" not in records[samples.index(s)]]
    return write_reproduction(out, header, records, portraits, followed, data, min_hits, argv)


def cost_lines(
    sides: Sequence[LoadedModel],
    samples: int,
    window: int | None,
    num_conditions: int = NUM_CONDITIONS,
) -> list[str]:
    """What a run costs, in forward passes of the language model, at most.

    Args:
        sides: the model, and its base if there is one.
        samples: how many.
        window: layers cut together.
        num_conditions: rows of table 3, each draw of a control counted.
    """
    lines = []
    for place, (opened, cut) in enumerate(zip(sides, (pathways(), CROSS_FRAME), strict=False)):
        sweep = _sweep(opened, cut, window)
        counted = count_passes(cut, sweep.windows(), opened.id.num_layers)
        # A pass of the lens, one for each condition of table 3, and the single knockout.
        more = 1 if place else 2 + num_conditions
        lines.append(
            f"{opened.id.name}: up to {counted.whole + more:.1f} passes over the whole prompt and "
            f"{counted.text:.1f} over the text behind the video for each of {samples} samples "
            f"({counted.knockouts} knockouts; wrong answers take {1 if place else 1 + more})"
        )
    return lines


def _sweep(opened: LoadedModel, cut: Sequence[Pathway], window: int | None) -> Knockouts:
    depth = opened.id.num_layers
    return Knockouts(cut, depth, window or default_window(depth), style=Style.CENTRE)


def _map(followed: Recipe | None, opened: LoadedModel) -> Map:
    """The recipe's map, or the paper's main one, scaled to the model's depth."""
    if followed is not None and followed.plan.preset:
        return preset_map(followed.plan.preset)
    return scaled_map(opened.id.num_layers)


def _samples(
    data: Path,
    followed: Recipe | None,
    cue: str | None,
    words: tuple[str | None, str | None],
    media: Media,
    tasks: Sequence[str] | None,
) -> list[Sample]:
    wording = (followed.wording if followed else DEFAULT_WORDING).over(*words)
    if cue is None:
        cue = followed.cue if followed else ANSWER_CUE
    if followed is not None:
        media = media.over(followed.media)
    samples = load_samples(data, cue, media, wording)
    if followed is not None:
        samples = followed.of_its_tasks(samples, data)
    return samples if tasks is None else of_tasks(samples, tasks, data)


def _drawing(
    out: Path, opened: LoadedModel, settings: SurveySettings
) -> Callable[[Sample, Clip, Any, Replay], None]:
    """Draws the words and attention maps of a sample (figures 4 and 6)."""
    vocabulary = Vocabulary.of(settings.groups, opened.processor.tokenizer)
    depth = opened.id.num_layers
    header = {
        "model": opened.id.model_dump(mode="json"),
        "norm": settings.norm,
        "matrix": settings.matrix,
    }

    def draw(sample: Sample, clip: Clip, inputs: Any, replay: Replay) -> None:
        view = View([_query(sample), LAST], CROSS_FRAME[0], range(depth))
        portrait = portray_clip(opened, sample, settings, view, clip, inputs, replay)
        draw_portrait(
            out, portrait, vocabulary, -(-depth // 8), view, header, opened.processor.tokenizer
        )

    return draw


def _query(sample: Sample) -> str:
    """The last word of a question, whose attention is drawn beside that of the last token."""
    found = re.findall(r"\w+", sample.question)
    return f"{WORD}{found[-1]}" if found else "-1"
