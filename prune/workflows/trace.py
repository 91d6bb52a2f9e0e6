"""The workflow of `prune trace`: from names and options to a trace and its figures on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.checkpoint.load import open_model
from prune.errors import UsageError
from prune.inputs.draw import draw_samples
from prune.inputs.frame_counts import frame_counts
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.prompts import ANSWER_CUE, DEFAULT_WORDING
from prune.inputs.replying import DEFAULT_REPLYING, Replying
from prune.inputs.samples import load_samples
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.layout.freezing import without_frozen
from prune.layout.pathways import roles_of
from prune.plan.keep import kept_reach
from prune.plan.model_id import Positions
from prune.report.figures.flow import write_flow
from prune.results.flow_map import Flow
from prune.trace.ask import OwnReply, ask
from prune.trace.flow import flow_of, paired
from prune.trace.knockout import Knockouts
from prune.trace.leaks import open_ways
from prune.trace.regions import check_regions
from prune.trace.sets import choose
from prune.trace.table import write_table
from prune.trace.trace import Trace, write_trace
from prune.trace.windows import Style, default_window
from prune.workflows.recipe import read_recipe
from prune.workflows.select import of_tasks


@dataclass(frozen=True)
class TracedRun:
    """A finished trace and what a terminal shows of it.

    Attributes:
        trace: the records.
        flow: the curves of its main metric.
        open_ways: ways from the video to the answer around the traced pathways, shortest first.
    """

    trace: Trace
    flow: Flow
    open_ways: list[str]


def trace_model(
    model: str | Path | None,
    data: Path,
    run: Path,
    progress: Progress = silent,
    *,
    recipe: str | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_frames: int | Sequence[int] | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    which: str | None = None,
    sets: Sequence[str] = (),
    pathways: Sequence[str] = (),
    pairs: bool = False,
    style: Style = Style.CENTRE,
    window: int | None = None,
    per_head: bool = False,
    keep: str | None = None,
    replying: Replying = DEFAULT_REPLYING,
    prefix: str | None = None,
    anchor: str | None = None,
    verbs: str | None = None,
    exact_reference: bool = False,
    device: str | None = None,
    dtype: str = "auto",
    positions: Positions | None = None,
) -> TracedRun:
    """Trace samples of a data set into a run folder, and draw the flow map.

    Under `torchrun` the samples are split over its processes; the first one writes
    `flow.{png,svg,csv,json}`, and `pairs.{png,svg}` if pairs were cut.

    Args:
        model: folder, hub id or embedded model; None for the recipe's.
        data: JSONL of the samples.
        run: the run folder; a trace in it that was stopped resumes.
        progress: shows the samples traced.
        recipe: name or file of a recipe: its tasks hold, and everything else that it says stands
            in for what is not given.
        tasks: only samples of these tasks.
        limit, per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        num_frames: frames of every clip, or several numbers, at each of which every sample is
            traced; the recipe's if None, or 8.
        cue: what a prompt ends with (`prune.inputs.samples.Sample`); the recipe's if None, or
            `ANSWER_CUE`.
        system: a system prompt in front of the video; the recipe's if None, or the chat template's.
        prompt: a template of the user's words (`prune.inputs.templates`); the recipe's if None.
        media: how clips are read of which the data says nothing.
        which: `correct` (the default), `wrong` or `all`: the answers that are traced.
        sets, pathways: what is cut, by name (`prune.trace.sets.SETS`,
            `prune.layout.pathway_names.find_pathway`); every traceable pathway if neither is given.
        pairs: also cut every two pathways together.
        style: the layers that a knockout cuts.
        window: number of layers cut together, `default_window` if None.
        per_head: cut one KV head at a time.
        keep: trace the model under the plan of this text (`prune.plan.keep`), not the dense one.
        replying: by which replies open questions are followed, token by token.
        prefix: ask without options; the reply begins with this.
        anchor, verbs: ask without options, and trace what this regular expression, or this spaCy
            pipeline's verbs, match in the model's own reply.
        exact_reference: run each knockout from the start, the slow way.
        device, dtype: as `device_map` and `dtype` of `prune.load`.
        positions: whose rule gives text its positions (`prune.runtime.positions`).

    Raises:
        UsageError: options exclude each other, or a name in them is unknown.
        BadInputError: the data has no sample to trace, or cannot be read.
        RefusedError: `run` holds another trace, or the model is not the recipe's.
    """
    own = isinstance(ask(prefix, anchor, verbs), OwnReply)
    if which is not None and own:
        raise UsageError("--samples: a reply of the model's own is neither right nor wrong")
    followed = read_recipe(recipe) if recipe is not None else None
    if followed is not None:
        model, num_frames = model or followed.model, num_frames or followed.num_frames
        media = media.over(followed.media)
        cue = followed.cue if cue is None else cue
        window, which = window or followed.window, which or followed.samples
        sets = sets or ([] if pathways else [followed.set])
    if model is None:
        raise UsageError("the recipe names no model: give MODEL" if followed else "give MODEL")
    openly = prefix is not None or own
    if openly and not sets and not pathways:
        sets = ["open-ended"]
    chosen = choose(list(sets), list(pathways), pairs)
    counts = frame_counts(8 if num_frames is None else num_frames)
    wording = followed.wording if followed else DEFAULT_WORDING
    wording = wording.over(system, prompt)
    samples = load_samples(data, ANSWER_CUE if cue is None else cue, media, wording)
    if followed is not None:
        samples = followed.of_its_tasks(samples, data)
    if tasks is not None:
        samples = of_tasks(samples, tasks, data)
    samples = draw_samples(samples, limit, per_task, seed)
    check_regions(roles_of(chosen), samples, data)
    written = not openly and any(sample.is_open for sample in samples)
    asking = ask(prefix, anchor, verbs, replying if written else None)
    if written and not sets and not pathways:
        # What a search needs, and what a reply owes to its own words.
        chosen = choose(["all"], ["reply->reply"], pairs)
    opened = open_model(model, device, dtype, dense=True, positions=positions)
    if followed is not None:
        followed.check_model(opened.id)
    heads = tuple(range(opened.id.num_kv_heads)) if per_head else (None,)
    depth = opened.id.num_layers
    width = window or default_window(depth)
    under = None if keep is None else without_frozen(kept_reach(keep, depth), "a trace")
    knockouts = Knockouts(chosen, depth, width, exact_reference, style, heads, under)
    kept = "all" if own else which or "correct"
    with progress("Tracing", share_of(len(samples))) as advance:
        trace = write_trace(
            opened, data, run, samples, knockouts, counts, kept, advance, asking, keep
        )
    if processes().is_main_process:
        write_summary(trace)
    flow = flow_of(trace)
    if flow.form == "once" and not own:
        flow = flow_of(trace, "accuracy")
    return TracedRun(trace, flow, open_ways(trace.pathways(), depth))


def write_summary(trace: Trace) -> None:
    """Write a trace's figures and tables into its run folder."""
    name = trace.model.name
    write_flow(trace.run, {name: flow_of(trace)})
    if paired(trace):
        write_flow(trace.run, {name: flow_of(trace, "interaction")}, "pairs")
    write_table(trace, trace.run)
