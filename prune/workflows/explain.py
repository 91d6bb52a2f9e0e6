"""The workflow of `prune explain`: evidence of answers, with figures and a summary."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from prune.checkpoint.load import LoadedModel, open_model
from prune.checkpoint.stored_plan import stored_plan
from prune.errors import UsageError
from prune.evidence.case import Explainable, open_case
from prune.evidence.explain import ExplainSettings, Explanation
from prune.evidence.explanations import FOLDER, Open, explain_samples, summary, treatment_of
from prune.evidence.remote import Endpoint
from prune.evidence.remote_case import open_remote
from prune.inputs.encode import check_samples
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import Sample
from prune.io.files import safe_name, write_atomically
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.journal.records import Record, model_identity
from prune.plan.model_id import Positions
from prune.report.figures.evidence import evidence_figure
from prune.report.figures.style import save_figure
from prune.report.figures.treatment import treatment_figure
from prune.results.treatment import Treatment
from prune.workflows.asked import asked_as, read_as
from prune.workflows.select import select_samples

CLIPS = ExplainSettings()
IMAGES = ExplainSettings("superpixels", 64, "black")
"""What is usual for each."""


@dataclass(frozen=True)
class ExplainedRun:
    """Explanations of a data set.

    Attributes:
        records: one per sample.
        summary: means over samples, as in `summary.json`.
        treatment: what removing the leading evidence of every answer corrects and breaks; only for
            the target `other`.
        figures: one per explained sample.
    """

    records: list[Record]
    summary: dict[str, Any]
    treatment: Treatment | None
    figures: list[Path]


def explain_model(
    model: str | Path,
    data: Path | Sequence[Sample],
    run: Path,
    progress: Progress = silent,
    *,
    tasks: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    per_task: int | None = None,
    seed: int = 0,
    which: str = "all",
    target: str = "answer",
    regions: str | None = None,
    count: int | None = None,
    align: bool = False,
    removal: str | None = None,
    search: str = "doubling",
    num_frames: int | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    endpoint: str = "",
    api_key: str = "",
    sampled: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    positions: Positions | None = None,
    text: bool = False,
) -> ExplainedRun:
    """Find the frames and regions that answers rest on, and draw them.

    Under `torchrun` the samples are split over its processes. For each sample a figure and its
    numbers are written, and at the end `summary.json`.

    Args:
        model: folder, hub id or embedded model; an exported folder is explained under its plan.
        data: JSONL of the samples, or samples (`shown`).
        run: the run folder; a run in it that was stopped resumes.
        progress: shows the samples explained, and beside them the regions of the present one.
        tasks, ids, limit, per_task, seed: only some samples
            (`prune.workflows.select.select_samples`).
        which: `correct`, `wrong` or `all`: the answers that are explained.
        target, search: see `prune.evidence.explain.ExplainSettings`.
        regions, count, removal: see there; without them, clips are cut in a grid of about 9 cells a
            frame whose tokens are masked, and images in about 64 superpixels that become black, as
            in 2509.22496.
        align: make the regions follow the model's token grid.
        num_frames, media: frames of every clip, and how those are read of which the data says
            nothing.
        cue, system, prompt: how samples are asked.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

            Frames, clips, words and precision are an export's where nothing is said
            (`prune.workflows.asked`).
        endpoint: URL of `/v1/chat/completions`, of a server that knows the model by its name.
        api_key: sent to the endpoint.
        sampled: continuations to sample where the endpoint returns no log-probabilities.
        positions: whose rule gives text its positions (`prune.runtime.positions`); an endpoint has
            its own.
        text: weigh the words of question and reply beside the video, too.

    Raises:
        UsageError: a setting is unknown or not for endpoints, or the data has no such task or
            sample.
        BadInputError: no sample could be explained, or a file cannot be read.
        RefusedError: `run` holds another explanation, or no sample is of the requested kind.
    """
    if endpoint and positions is not None:
        raise UsageError("--positions: a server places text by its own rule: leave it out")
    if endpoint and text:
        raise UsageError("--text: an endpoint hides no words of its prompt: leave it out")
    if endpoint and (system is not None or prompt is not None):
        raise UsageError("--system, --prompt: an endpoint gets the question alone: leave them out")
    if endpoint and (device is not None or dtype is not None):
        raise UsageError("--device, --dtype: an endpoint has its own: leave them out")
    cue, wording = asked_as((model,), cue, system, prompt)
    read = read_as((model,), num_frames, media, dtype)
    if isinstance(data, Path):
        samples = select_samples(data, tasks, ids, limit, cue, per_task, seed, read.media, wording)
    else:
        samples = [
            replace(sample, wording=wording, media=sample.media.over(read.media)) for sample in data
        ]
    if which != "all" and all(sample.is_open for sample in samples):
        raise UsageError(
            f"--samples {which}: the questions are open, so no reply is wrong: take all"
        )
    usual = IMAGES if all(sample.medium == "image" for sample in samples) else CLIPS
    removal = removal or usual.removal
    if endpoint and removal == "masked":
        removal = "black"
    settings = ExplainSettings(
        regions or usual.regions, count or usual.count, removal, search, target,
        read.num_frames, align, text=text,
    )  # fmt: skip
    if endpoint:
        remote = Endpoint(endpoint, str(model), api_key, sampled)
        identity: dict[str, Any] = {"model": {"endpoint": endpoint, "name": str(model)}}
        open_one: Open = partial(_open_remote, remote, settings)
    else:
        opened = open_model(model, device, read.dtype, dense=True, positions=positions)
        open_one, identity = _local(opened, settings, samples)

    with progress("Explaining", share_of(len(samples))) as advance:

        def on_step(placed: int, total: int, best: float) -> None:
            advance(0, f"region {placed} of {total}, best F {best:.3f}")

        records = explain_samples(
            open_one, identity, samples, run, settings, which=which,
            draw=partial(_draw, run), on_step=on_step, on_done=advance,
        )  # fmt: skip
    found, treated = summary(records), treatment_of(records)
    if treated is not None:
        found["treatment"] = asdict(treated)
    if processes().is_main_process:
        if treated is not None:
            save_figure(treatment_figure(treated), run / "treatment.png")
        write_atomically(run / "summary.json", json.dumps(found, indent=2) + "\n")
    figures = [figure_path(run, r["id"]) for r in records if "scores" in r]
    return ExplainedRun(records, found, treated, figures)


def figure_path(run: Path, sample_id: str) -> Path:
    """Where the figure of a sample is."""
    return run / f"{safe_name(sample_id, (FOLDER, 'summary', 'treatment'))}.png"


def _draw(run: Path, case: Explainable, found: Explanation, record: Record) -> None:
    figure = evidence_figure(record, case.frames, found.regions.labels, found.saliency)
    path = figure_path(run, record["id"])
    save_figure(figure, path)
    write_atomically(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


def _local(
    opened: LoadedModel,
    settings: ExplainSettings,
    samples: Sequence[Sample],
) -> tuple[Open, dict[str, Any]]:
    """Opens samples for a model on this machine, and the identity of that model and its plan."""
    check_samples(opened.processor, samples)
    plan = stored_plan(opened.folder, opened.id)

    def open_one(sample: Sample) -> Explainable:
        return open_case(
            opened.model, opened.processor, sample, settings.num_frames, settings.target, plan
        )

    return open_one, {**model_identity(opened), "plan": plan.sha256 if plan else None}


def _open_remote(endpoint: Endpoint, settings: ExplainSettings, sample: Sample) -> Explainable:
    return open_remote(endpoint, sample, settings.num_frames, settings.target)
