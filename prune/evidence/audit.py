"""The audit: does a pruned model rest on the evidence that the dense one rests on?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from prune.errors import BadInputError, PruneError
from prune.evaluate.stats import bootstrap_band
from prune.evidence.case import Case, open_case
from prune.evidence.explain import Explanation, Settings, explain, record_of
from prune.evidence.metrics.agreement import top_iou
from prune.models import Opened
from prune.plan.plan import Plan
from prune.samples import Sample

SAME = 0.3
"""Below this IoU@20% two answers rest on other evidence."""

FLAT = 1e-5
"""F that varies by less than this over the regions alone does not depend on them."""

MEASURES = {
    "rank_correlation": "rank correlation of the regions' evidence",
    "iou_20": "IoU of the fifth of the clip that matters most",
    "insertion_change": "change of insertion AUC",
    "deletion_change": "change of deletion AUC",
    "other_evidence": "right answers that stay right on other evidence",
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One sample, explained under the dense model and under the plan.

    Attributes:
        case: the dense one.
        dense, pruned: explanations of the same tokens on the same regions.
        record: the numbers of both, and of their comparison.
    """

    case: Case
    dense: Explanation
    pruned: Explanation
    record: Record


def compare(opened: Opened, plan: Plan, sample: Sample, settings: Settings) -> Pair:
    """Explain the dense model's reply to a sample under both models.

    Both are asked for the dense model's words: what a model would say on its own is compared by
    their answers, what it rests on needs the same question.

    Raises:
        BadInputError: the clip cannot be decoded.
    """
    case = open_case(opened.model, opened.processor, sample, settings.num_frames, settings.target)
    forcing = replace(case.forcing, reach=plan.reach, forwards=0)
    other = replace(case, forcing=forcing)
    dense, pruned = explain(case, settings), explain(other, settings)
    one, two = (record_of(*pair, settings) for pair in ((case, dense), (other, pruned)))
    iou = top_iou(dense.order, pruned.order, dense.regions.area)
    right = one["correct"] and two["correct"]
    record: Record = {
        "id": sample.id,
        "task": sample.task,
        "question": sample.question,
        "answer": one["answer"],
        "chosen": {"dense": one["chosen"], "pruned": two["chosen"]},
        "rank_correlation": _correlation(dense.alone, pruned.alone),
        "iou_20": round(iou, 6),
        "insertion_change": _change(one, two, "insertion_auc"),
        "deletion_change": _change(one, two, "deletion_auc"),
        # Only right answers can be right on other evidence.
        "other_evidence": float(iou < SAME) if right else None,
        "modality_change": _modality_change(one, two, sample),
        "dense": one,
        "pruned": two,
    }
    return Pair(case, dense, pruned, record)


def audit(
    opened: Opened,
    plan: Plan,
    samples: Sequence[Sample],
    settings: Settings,
    keep: int = 4,
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[list[Record], list[Pair], dict[str, str]]:
    """Compare every sample.

    Args:
        opened: dense.
        plan: of the pruned model.
        samples, settings: what to explain, and how.
        keep: how many of the pairs with the least overlap are handed back whole, for figures.
        on_done: called with the number of samples finished.

    Returns:
        The records, the worst pairs, worst first, and for each sample that failed the reason.

    Raises:
        BadInputError: no sample could be explained.
    """
    records: list[Record] = []
    worst: list[Pair] = []
    failed: dict[str, str] = {}
    for sample in samples:
        try:
            pair = compare(opened, plan, sample, settings)
        except PruneError as error:
            failed[sample.id] = str(error)
        else:
            records.append(pair.record)
            worst = sorted([*worst, pair], key=lambda p: p.record["iou_20"])[:keep]
        on_done(1)
    if not records:
        raise BadInputError(f"no sample could be explained: {next(iter(failed.values()))}")
    return records, worst, failed


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


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's correlation; 0 where only one of them varies, None where neither does."""
    flat = [bool(np.ptp(values) < FLAT) for values in (one, other)]
    if any(flat):
        return None if all(flat) else 0.0
    return round(float(stats.spearmanr(one, other).statistic), 6)


def _change(dense: Record, pruned: Record, name: str) -> float:
    return round(pruned["scores"][name] - dense["scores"][name], 6)


def _modality_change(dense: Record, pruned: Record, sample: Sample) -> dict[str, float]:
    """Mean change of the modality score by kind of token: letter of an option, word, mark."""
    by_kind: dict[str, list[float]] = {}
    rows = zip(dense["reply"], dense["modality"]["code"], pruned["modality"]["code"], strict=True)
    for text, before, after in rows:
        word = text.strip()
        kind = "letter" if word in sample.letters else "word" if word.isalnum() else "mark"
        by_kind.setdefault(kind, []).append(after - before)
    return {kind: round(float(np.mean(values)), 6) for kind, values in by_kind.items()}
