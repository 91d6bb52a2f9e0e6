"""Comparison of one question explained under a dense model and under a plan."""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from prune.checkpoint.load import LoadedModel
from prune.evidence.case import open_case
from prune.evidence.explain import ExplainSettings, explain, record_of
from prune.evidence.metrics.agreement import top_iou
from prune.inputs.samples import Sample
from prune.plan.plan import Plan

SAME = 0.3
"""Below this IoU@20% two answers rest on different evidence."""

FLAT = 1e-5
"""If F varies by less than this over single regions, it does not depend on them."""

Record = dict[str, Any]


def compare(opened: LoadedModel, plan: Plan, sample: Sample, settings: ExplainSettings) -> Record:
    """Explain the dense model's reply to a sample under both models.

    Both are scored on the dense model's reply: their answers are compared elsewhere, and their
    evidence can only be compared for the same reply.

    Returns:
        The numbers of both (`dense` and `pruned`, as `record_of` has them), and of their
        comparison. `other_evidence` (correct, but on other evidence) is `None` unless both answers
        are correct.

    Raises:
        BadInputError: the clip cannot be decoded.
        UsageError: the reply has no such target.
    """
    case = open_case(opened.model, opened.processor, sample, settings.num_frames, settings.target)
    forcing = replace(case.forcing, reach=plan.reach, forwards=0)
    other = replace(case, forcing=forcing)
    dense, pruned = explain(case, settings), explain(other, settings)
    one, two = (record_of(*pair, settings) for pair in ((case, dense), (other, pruned)))
    iou = top_iou(dense.order, pruned.order, dense.regions.area)
    return {
        "id": sample.id,
        "task": sample.task,
        "question": sample.question,
        "answer": one["answer"],
        "chosen": {"dense": one["chosen"], "pruned": two["chosen"]},
        "rank_correlation": _correlation(dense.alone, pruned.alone),
        "iou_20": round(iou, 6),
        "insertion_change": _change(one, two, "insertion_auc"),
        "deletion_change": _change(one, two, "deletion_auc"),
        "other_evidence": float(iou < SAME) if one["correct"] and two["correct"] else None,
        "modality_change": _modality_change(one, two, sample),
        "dense": one,
        "pruned": two,
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's correlation; 0 if only one of them varies, None if neither does."""
    flat = [bool(np.ptp(values) < FLAT) for values in (one, other)]
    if any(flat):
        return None if all(flat) else 0.0
    return round(float(stats.spearmanr(one, other).statistic), 6)


def _change(dense: Record, pruned: Record, name: str) -> float:
    change: float = pruned["scores"][name] - dense["scores"][name]
    return round(change, 6)


def _modality_change(dense: Record, pruned: Record, sample: Sample) -> dict[str, float]:
    """Mean change of the modality score by kind of token: letter of an option, word, mark."""
    by_kind: dict[str, list[float]] = {}
    rows = zip(dense["reply"], dense["modality"]["code"], pruned["modality"]["code"], strict=True)
    for text, before, after in rows:
        word = text.strip()
        kind = "letter" if word in sample.letters else "word" if word.isalnum() else "mark"
        by_kind.setdefault(kind, []).append(after - before)
    return {kind: round(float(np.mean(values)), 6) for kind, values in by_kind.items()}
