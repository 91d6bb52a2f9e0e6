"""The audit: does a pruned model rest on the evidence that the dense one rests on?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from prune.checkpoint.load import LoadedModel
from prune.errors import BadInputError, UsageError
from prune.evaluate.stats import bootstrap_band
from prune.evidence.answered import answer_both
from prune.evidence.comparison import Record, compare
from prune.evidence.explain import COARSE, ExplainSettings
from prune.inputs.samples import Sample
from prune.journal.records import check_usable, identity, recorded
from prune.journal.write import write_records
from prune.plan.plan import Plan

SCHEMA_VERSION = 1
FOLDER = "evidence"

MEASURES = {
    "rank_correlation": "rank correlation of the regions' evidence",
    "iou_20": "IoU of the fifth of the clip that matters most",
    "insertion_change": "change of insertion AUC",
    "deletion_change": "change of deletion AUC",
    "other_evidence": "right answers that stay right on other evidence",
}


def audit(
    opened: LoadedModel,
    plan: Plan,
    samples: Sequence[Sample],
    folder: Path,
    settings: ExplainSettings,
    limit: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> list[Record]:
    """Audit each sample into `folder/evidence`, going on where an earlier call stopped.

    Under `torchrun` the samples are split over its processes.

    Args:
        opened: dense.
        plan: of the pruned model.
        samples: in order; both models answer all of them.
        folder: of the audit.
        settings: how the first `limit` samples are explained.
        limit: how many samples' evidence is compared.
        on_done: called with the number of samples finished.

    Returns:
        For each sample its `answers` (`prune.evidence.answered`) and, of the first `limit`, what
        `compare` measures; or its id, task and `error`.

    Raises:
        RefusedError: the folder holds an audit of something else.
        BadInputError: not one sample could be used.
        NumericError: the logits of every sample are NaN or infinite.
        UsageError: the regions are chosen by the model, so that two models have none in common.
    """
    if settings.regions == COARSE:
        raise UsageError(f"--regions {COARSE}: each model would choose regions of its own")
    compared = {sample.id for sample in samples[:limit]}
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
        except UsageError as error:  # Of this reply alone: others may have the target.
            raise BadInputError(str(error)) from None

    records = write_records(folder / FOLDER, header, samples, recorded(audit_one), on_done)
    check_usable(records)
    return records


def comparisons(records: Sequence[Record]) -> list[Record]:
    """The records of samples whose evidence was compared.

    Raises:
        BadInputError: there is none.
    """
    found = [r for r in records if "iou_20" in r]
    if not found:
        raise BadInputError("no sample could be explained: raise --limit")
    return found


def means(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Mean of each measure over the samples that have it, with its 95% bootstrap interval."""
    found = {}
    changes = {f"modality of {kind}s" for r in records for kind in r["modality_change"]}
    for name in (*MEASURES, *sorted(changes)):
        values = [_value(r, name) for r in records]
        known = np.array([v for v in values if v is not None], float)
        if len(known):
            mean, low, high = (float(x[0]) for x in bootstrap_band(known[:, None]))
            found[name] = {"mean": mean, "low": low, "high": high, "n": len(known)}
    return found


def _value(record: Record, name: str) -> float | None:
    if name in MEASURES:
        return record[name]
    kind = name.removeprefix("modality of ").removesuffix("s")
    return record["modality_change"].get(kind)
