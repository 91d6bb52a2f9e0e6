"""The workflow of `prune screen`: pathways, layers and KV heads ranked by gradients."""

from collections.abc import Sequence
from pathlib import Path

from prune.checkpoint.load import open_model
from prune.errors import UsageError
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import need_options
from prune.journal.processes import processes
from prune.journal.progress import Progress, silent
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import roles_of
from prune.plan.model_id import Positions
from prune.report.figures.screen import screen_figure
from prune.report.figures.style import save_both
from prune.trace.regions import check_regions
from prune.trace.screen_samples import TOP, screen_samples
from prune.trace.screen_table import write_screen
from prune.trace.screening import Screening
from prune.trace.sets import choose
from prune.workflows.asked import asked_as, read_as
from prune.workflows.select import select_samples

__all__ = ["Screening", "screen_model"]


def screen_model(
    model: str | Path,
    data: Path,
    run: Path,
    progress: Progress = silent,
    *,
    sets: Sequence[str] = (),
    pathways: Sequence[str] = (),
    tasks: Sequence[str] | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    seed: int = 0,
    num_frames: int | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    which: str = "correct",
    window: int | None = None,
    top: int = TOP,
    verify_all: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    positions: Positions | None = None,
) -> Screening:
    """Rank knockouts by gradients, run the strongest exactly, and draw how well the two agree.

    Under `torchrun` the samples are split over its processes; the first one writes
    `screen.{png,svg,csv,json}` and `heads.csv`.

    Args:
        model: folder, hub id or embedded model.
        data: JSONL of multiple-choice questions.
        run: the run folder; a screen in it that was stopped resumes.
        progress: shows the samples of both steps.
        sets, pathways: what is removed, as in `prune.workflows.trace.trace_model`.
        tasks: only samples of these tasks.
        limit, per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        num_frames, media: frames of every clip, and how those are read of which the data says
            nothing.
        cue, system, prompt: how samples are asked.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

            Frames, clips, words and precision are an export's where nothing is said
            (`prune.workflows.asked`).
        which: `correct`, `wrong` or `all`: the answers that are screened.
        window: number of layers removed together, `default_window` if None.
        top: how many of the strongest are run exactly, with as many drawn evenly from the rest.
        verify_all: run all of them exactly.
        positions: whose rule gives text its positions (`prune.runtime.positions`).

    Raises:
        UsageError: a set or pathway is unknown.
        BadInputError: no sample could be used, or none is of the requested kind.
        RefusedError: `run` holds another screen.
    """
    chosen = choose(list(sets), list(pathways))
    if any(pathway.frozen for pathway in chosen):
        raise UsageError("prune screen ranks edges: trace frozen states with prune trace")
    cue, wording = asked_as((model,), cue, system, prompt)
    read = read_as((model,), num_frames, media, dtype)
    samples = select_samples(data, tasks, None, limit, cue, per_task, seed, read.media, wording)
    need_options(samples, "prune screen")
    check_regions(roles_of(chosen), samples, data)
    found = screen_samples(
        open_model(model, device, read.dtype, dense=True, positions=positions),
        samples,
        run,
        chosen,
        progress,
        num_frames=read.num_frames,
        which=which,
        window=window,
        top=top,
        verify_all=verify_all,
    )
    if processes().is_main_process:
        write_screen(found, run)
        _draw(found, run / "screen")
    return found


def _draw(found: Screening, path: Path) -> None:
    header, counts = found.header, found.counts
    caption = (
        f"{header['model']['name']}: {counts['screened']} of {counts['samples']} samples "
        f"({counts['failed']} failed), window {header['window']}; {found.agreement()}"
    )
    titles = [find_pathway(name).title for name in header["pathways"]]
    strengths = found.predicted[:, 1], found.exact[:, 1]
    save_both(screen_figure(found.grid(), titles, *strengths, found.top, caption), path)
