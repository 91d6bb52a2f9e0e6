"""The audit of a data set: the evidence of a dense and a pruned model, in a resumable journal."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.evaluate.stats import mean_of
from prune.evidence.answered import answer_both
from prune.evidence.comparison import Record, compare
from prune.evidence.explain import COARSE, ExplainSettings
from prune.inputs.draw import draw_samples
from prune.inputs.samples import Sample
from prune.journal.records import check_usable, identity, recorded
from prune.journal.write import write_records
from prune.plan.plan import Plan
from prune.results.audit_findings import MEASURES
from prune.results.interval import Mean

SCHEMA_VERSION = 2
FOLDER = "audit"


def audit_samples(
    opened: LoadedModel,
    plan: Plan,
    samples: Sequence[Sample],
    folder: Path,
    settings: ExplainSettings,
    limit: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Record]:
    """Audit each sample into the journal `folder/audit`; an audit that was stopped resumes.

    Under `torchrun` the samples are split over its processes.

    Args:
        opened: the dense model.
        plan: the pruned model's.
        samples: in order; both models answer all of them.
        folder: the audit's.
        settings: how samples are explained.
        limit: how many samples' evidence is compared (`prune.inputs.draw`).
        on_done: called with the number of samples finished.

    Returns:
        One record per sample: its `answers` (`prune.evidence.answered`) and, for `limit` of them,
        what `compare` measures; or its id, task and `error`.

    Raises:
        RefusedError: the folder holds another audit.
        BadInputError: no sample could be used.
        NumericError: the logits of every sample are NaN or infinite.
        UsageError: the regions are chosen by the model, so the two models share none.
    """
    if settings.regions == COARSE:
        raise UsageError(f"--regions {COARSE}: each model would choose regions of its own")
    compared = {sample.id for sample in draw_samples(samples, limit)}
    header = {
        "schema_version": SCHEMA_VERSION,
        **identity(opened, samples),
        "plan": plan.sha256,
        "limit": limit,
        "settings": asdict(settings),
    }

    def audit_one(sample: Sample) -> Record:
        answers = answer_both(opened, plan, sample, settings.num_frames)
        if sample.id not in compared:
            return {"answers": answers}
        try:
            return {"answers": answers, **compare(opened, plan, sample, settings)}
        except UsageError as error:  # Specific to this reply: others may have the target.
            raise BadInputError(str(error)) from None

    each = recorded(audit_one)
    records = write_records(folder / FOLDER, "audit", header, samples, each, on_done)
    check_usable(records)
    return records


def comparisons(records: Sequence[Record]) -> list[Record]:
    """The records of the samples whose evidence was compared.

    Raises:
        BadInputError: there are none.
    """
    found = [r for r in records if "iou_20" in r]
    if not found:
        raise BadInputError("no sample could be explained: raise --limit")
    return found


def means(records: Sequence[Record]) -> dict[str, Mean]:
    """Mean of each measure over the samples that have it, with its 95% interval by video."""
    found = {}
    changes = {f"modality of {kind}s" for r in records for kind in r["modality_change"]}
    for name in (*MEASURES, *sorted(changes)):
        values = [(value, r["video"]) for r in records if (value := _value(r, name)) is not None]
        if values:
            known, videos = zip(*values, strict=True)
            found[name] = mean_of(known, videos)
    return found


def _value(record: Record, name: str) -> float | None:
    kind = name.removeprefix("modality of ").removesuffix("s")
    value: float | None = record[name] if name in MEASURES else record["modality_change"].get(kind)
    return value
