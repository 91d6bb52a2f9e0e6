"""The workflow of `prune audit`: the evidence of a dense and a pruned model, with a verdict."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path

from prune.checkpoint.load import LoadedModel, open_model
from prune.evaluate.existence import existence
from prune.evidence.answered import PairedAnswers
from prune.evidence.audit import audit_samples, comparisons, means
from prune.evidence.case import open_case
from prune.evidence.explain import ExplainSettings, regions_of
from prune.evidence.metrics.agreement import first_regions
from prune.inputs.max_failed import MAX_FAILED, check_failed
from prune.inputs.media import DEFAULT_MEDIA, Media
from prune.inputs.samples import Sample, need_options
from prune.io.files import write_atomically
from prune.journal.processes import processes, share_of
from prune.journal.progress import Progress, silent
from prune.journal.records import Record, failed_of
from prune.plan.model_id import Positions
from prune.report.audit_page import AUDIT_PAGE, audit_html, audit_summary
from prune.report.figures.audit import Pairing, audit_figure
from prune.report.figures.style import save_figure
from prune.results.audit_findings import (
    MEASURES,
    AuditLimits,
    Finding,
    Outcome,
    outcome_of,
    verdict,
)
from prune.results.existence import Existence
from prune.results.interval import Mean
from prune.workflows.amend import amend, is_export
from prune.workflows.asked import asked_as, read_as, told_words
from prune.workflows.named_plan import named_plan
from prune.workflows.select import select_samples

WORST = 4
"""Number of samples that are drawn: those whose evidence changed most."""

DEFAULT_LIMITS = AuditLimits()


@dataclass(frozen=True)
class AuditedPlan:
    """What an audit found.

    Attributes:
        means: mean of each measure over samples, with its interval by video.
        accuracy: of both models, and its paired change.
        existence: hallucination of both models, if the data asks what exists.
        findings: every interval against its limit.
        failed: the reason by id for each sample that could not be used.
        page, numbers: the audit as HTML and as JSON.
        amended: the report of the pruned model, if that is an exported folder.
    """

    means: dict[str, Mean]
    accuracy: dict[str, dict[str, float]]
    existence: Existence | None
    findings: list[Finding]
    failed: dict[str, str]
    page: Path
    numbers: Path
    amended: Path | None

    @property
    def outcome(self) -> Outcome:
        """Whether the pruned model relies on the same evidence; open with too few videos to say."""
        return outcome_of(self.findings)


def audit_model(
    model: str | Path,
    pruned: str | Path,
    data: Path,
    out: Path,
    progress: Progress = silent,
    *,
    tasks: Sequence[str] | None = None,
    per_task: int | None = None,
    seed: int = 0,
    limit: int = 24,
    regions: str = "frames",
    count: int = 4,
    num_frames: int | None = None,
    cue: str | None = None,
    system: str | None = None,
    prompt: str | None = None,
    media: Media = DEFAULT_MEDIA,
    limits: AuditLimits = DEFAULT_LIMITS,
    max_failed: str = MAX_FAILED,
    argv: str = "",
    device: str | None = None,
    dtype: str | None = None,
    positions: Positions | None = None,
) -> AuditedPlan:
    """Compare the evidence and the answers of a dense and a pruned model.

    Under `torchrun` the samples are split over its processes. The first one writes
    `audit.{html,json,png}`, and amends the report of an exported folder.

    Args:
        model: the dense model: folder, hub id or embedded model.
        pruned: an exported folder, a plan file or a preset's name.
        data: JSONL of the samples.
        out: folder of the results; an audit in it that was stopped resumes.
        progress: shows the samples audited.
        tasks: only samples of these tasks.
        per_task, seed: a draw of those (`prune.inputs.draw.draw_samples`).
        limit: explain N samples (`prune.inputs.draw`); all of them are answered.
        regions, count: see `prune.evidence.explain.ExplainSettings`.
        num_frames, media: frames of every clip, and how those are read of which the data says
            nothing.
        cue, system, prompt: how samples are asked.
        device, dtype: as `device_map` and `dtype` of `prune.load`.

            Frames, clips, words and precision are an export's where nothing is said
            (`prune.workflows.asked`).
        limits: what may change.
        max_failed: samples that may fail (`prune.inputs.max_failed`).
        argv: the command, for the report.
        positions: whose rule gives text its positions; as the plan was measured if None.

    Raises:
        BadInputError: no sample could be used, or a file cannot be read.
        TooManyFailedError: more samples failed than `max_failed` allows; their records are kept,
            and there is no verdict.
        RefusedError: the plan is for another model, or `out` holds another audit.
        UsageError: the regions are unknown, or would differ between the models.
    """
    read = read_as((pruned, model), num_frames, media, dtype)
    settings = ExplainSettings(regions=regions, count=count, num_frames=read.num_frames)
    cue, wording = asked_as((pruned, model), cue, system, prompt)
    samples = select_samples(data, tasks, None, None, cue, per_task, seed, read.media, wording)
    need_options(samples, "prune audit")
    plan = named_plan(pruned)
    positions = positions or plan.model.positions
    opened = open_model(model, device, read.dtype, dense=True, positions=positions)
    plan.check_model(opened.id)
    with progress("Auditing", share_of(len(samples))) as advance:
        records = audit_samples(opened, plan, samples, out, settings, limit, advance)
    check_failed(failed_of(records), len(records), max_failed)
    answered, compared = PairedAnswers.of(samples, records), comparisons(records)
    measured = means(compared)
    seen = existence(answered.samples, answered.dense, answered.pruned)
    findings = verdict(measured, seen, limits)
    found = AuditedPlan(
        measured, answered.accuracy, seen, findings, failed_of(records),
        out / AUDIT_PAGE, out / "audit.json", None,
    )  # fmt: skip
    if not processes().is_main_process:
        return found
    report = {
        "model": opened.id.model_dump(mode="json"),
        "plan": plan.sha256,
        "command": argv,
        "outcome": found.outcome,
        "findings": [asdict(f) for f in findings],
        "limits": asdict(limits),
        "settings": asdict(settings),
        "asked": told_words(samples[0]),
        "means": {name: asdict(mean) for name, mean in measured.items()},
        "accuracy": found.accuracy,
        "existence": asdict(seen) if seen else None,
        "failed": found.failed,
        "samples": compared,
    }
    figure = audit_figure(_worst(opened, samples, settings, compared))
    save_figure(figure, out / "audit.png")
    write_atomically(found.numbers, json.dumps(report, indent=1, allow_nan=False) + "\n")
    page = audit_html(report, MEASURES, figure)
    write_atomically(found.page, page)
    if not is_export(Path(pruned)):
        return found
    audit = audit_summary(report)
    amended = amend(Path(pruned), lambda r: replace(r, audit=audit), {AUDIT_PAGE: page})
    return replace(found, amended=amended)


def _worst(
    opened: LoadedModel,
    samples: Sequence[Sample],
    settings: ExplainSettings,
    compared: Sequence[Record],
) -> list[Pairing]:
    """The samples whose evidence changed most, the least overlap first."""
    by_id, pairings = {s.id: s for s in samples}, []
    for record in sorted(compared, key=itemgetter("iou_20"))[:WORST]:
        case = open_case(opened.model, opened.processor, by_id[record["id"]], settings.num_frames)
        regions, chosen = regions_of(case, settings), record["chosen"]
        top = (first_regions(record[side]["order"], regions.area) for side in ("dense", "pruned"))
        title = (
            f"{record['question']} ({record['answer']})  dense: {chosen['dense']}, "
            f"pruned: {chosen['pruned']}; IoU {record['iou_20']:.2f}"
        )
        pairings.append(Pairing(title, case.frames, regions.labels, *map(sorted, top)))
    return pairings
