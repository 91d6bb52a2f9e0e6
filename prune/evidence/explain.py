"""The explanation of one case, and every number about it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prune.errors import UsageError
from prune.evidence.case import REMOVALS, Explainable
from prune.evidence.curves import Curves, attribution, curves, modality
from prune.evidence.metrics.auc import scores
from prune.evidence.metrics.correction import minimal_correction
from prune.evidence.objective import Objective
from prune.evidence.objects import objects_of, pointing
from prune.evidence.regions import PARTITIONS, Regions, grid, partition, whole_frames
from prune.evidence.regions.align import align
from prune.evidence.regions.refine import refine
from prune.evidence.search import SEARCHES

COARSE = "coarse"
"""The partition that is made in two steps: frames, then cells of those that come first."""

COARSE_SHARE = 0.25
"""Share of the frames that the coarse-to-fine partition cuts further."""

OnStep = Callable[[int, int, float], None]
"""Called with the number of regions placed, their total number, and the best F so far."""


@dataclass(frozen=True)
class ExplainSettings:
    """Settings of an explanation.

    Attributes:
        regions: a partition (`prune.evidence.regions.PARTITIONS`), or `coarse`.
        count: approximate number of regions per frame.
        removal: how regions are removed (`prune.evidence.case.REMOVALS`).
        search: how they are ordered (`prune.evidence.search.SEARCHES`).
        target: which tokens are explained (`prune.evidence.reply.find_target`).
        num_frames: frames of every clip.
        aligned: regions follow the token grid; they always do where tokens are masked.
        insight_weight, necessity_weight: lambda 1 and 2 of F.
        text: weigh the words of question and reply, too (`prune.evidence.sources`).
    """

    regions: str = "grid"
    count: int = 9
    removal: str = "masked"
    search: str = "doubling"
    target: str = "answer"
    num_frames: int = 8
    aligned: bool = False
    insight_weight: float = 1.0
    necessity_weight: float = 1.0
    text: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("regions", self.regions, (*PARTITIONS, COARSE)),
            ("removal", self.removal, REMOVALS),
            ("search", self.search, tuple(SEARCHES)),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r}: expected {', '.join(known)}")


@dataclass(frozen=True)
class Explanation:
    """Regions in order of importance, with the curves and scores of that order.

    Attributes:
        regions: of the clip, R.
        order: the regions, the most important first.
        curves: of all reply tokens, followed by the options' letters: K + n columns.
        attribution: of each region, `[R]` in [0, 1].
        values: F of the first 0 to R regions, `[R + 1]`.
        alone: F of each region by itself, `[R]`.
        forwards: passes of the text model that search and curves took.
        seconds: wall time of both.
    """

    regions: Regions
    order: list[int]
    curves: Curves
    attribution: np.ndarray
    values: np.ndarray
    alone: np.ndarray
    forwards: int
    seconds: float

    @property
    def saliency(self) -> np.ndarray:
        """The attribution map, `[T, H, W]`."""
        return self.regions.spread(self.attribution)


def explain(
    case: Explainable, settings: ExplainSettings, on_step: OnStep = lambda placed, total, best: None
) -> Explanation:
    """Order the regions of a case by how much its target needs them.

    Raises:
        RefusedError: the regions cannot be removed as asked.
    """
    start, before = time.perf_counter(), case.forwards
    if settings.regions == COARSE:
        first = whole_frames(case.frames)
        order = search(case, first, settings, on_step)
        keep = max(1, round(COARSE_SHARE * len(order)))
        cells = refine(first, order[:keep], grid(case.frames, settings.count))
        regions = _aligned(case, cells, settings)
    else:
        regions = regions_of(case, settings)
    objective = _objective(case, regions, settings)
    order = _search(objective, settings, on_step)
    return explanation(case, objective, regions, order, start, before)


def regions_of(case: Explainable, settings: ExplainSettings) -> Regions:
    """The partition that `settings` name, if it depends only on the clip (not coarse to fine).

    Raises:
        RefusedError: the regions cannot follow the token grid.
    """
    return _aligned(case, partition(settings.regions, case.frames, settings.count), settings)


def _aligned(case: Explainable, regions: Regions, settings: ExplainSettings) -> Regions:
    if settings.regions != "frames" and (settings.aligned or settings.removal == "masked"):
        return align(regions, case.grid)
    return regions


def search(
    case: Explainable, regions: Regions, settings: ExplainSettings, on_step: OnStep
) -> list[int]:
    """Order given regions as `settings` say."""
    return _search(_objective(case, regions, settings), settings, on_step)


def _objective(case: Explainable, regions: Regions, settings: ExplainSettings) -> Objective:
    return Objective(
        case.scorer(regions, settings.removal),
        case.target.positions,
        settings.insight_weight,
        settings.necessity_weight,
    )


def _search(objective: Objective, settings: ExplainSettings, on_step: OnStep) -> list[int]:
    total = objective.num_regions
    return SEARCHES[settings.search](objective, lambda placed, best: on_step(placed, total, best))


def explanation(
    case: Explainable,
    objective: Objective,
    regions: Regions,
    order: list[int],
    start: float,
    forwards_before: int,
) -> Explanation:
    """The explanation that an ordering gives, whichever method found it."""
    found = curves(objective, order, regions.area)
    chosen = list(case.target.positions)
    weights = objective.insight_weight, objective.necessity_weight
    insight, rest = found.insertion[:, chosen].mean(1), found.deletion[:, chosen].mean(1)
    return Explanation(
        regions,
        order,
        found,
        attribution(found, order, chosen, *weights),
        weights[0] * insight + weights[1] * (1 - rest),
        objective.with_each([], range(regions.count)),
        case.forwards - forwards_before,
        time.perf_counter() - start,
    )


def record_of(case: Explainable, found: Explanation, settings: ExplainSettings) -> dict[str, Any]:
    """Every number of an explanation, for JSON (`docs/explaining-an-answer.md` names them)."""
    sample, target = case.sample, case.target
    tokens = len(target.texts)
    level = modality(found.curves)
    measured = scores(found.curves, target.positions)
    measured |= pointing(case, found.regions, found.order, found.saliency)
    record: dict[str, Any] = {
        "id": sample.id,
        "task": sample.task,
        "medium": sample.medium,
        "turns": [list(turn) for turn in sample.turns],
        "question": sample.question,
        **_answered(case, found),
        "reply": list(target.texts),
        "target": {"name": target.name, "tokens": list(target.positions)},
        "settings": asdict(settings),
        "order": found.order,
        "regions": _regions(found),
        "curves": {
            "area": _short(found.curves.area),
            "value": _short(found.values),
            "insertion": _short(found.curves.insertion[:, :tokens]),
            "deletion": _short(found.curves.deletion[:, :tokens]),
            "insertion_options": _short(found.curves.insertion[:, tokens:]),
            "deletion_options": _short(found.curves.deletion[:, tokens:]),
        },
        "objects": objects_of(case),
        "scores": {k: v if v is None else round(v, 6) for k, v in measured.items()},
        "modality": {kind: _short(values[:tokens]) for kind, values in level.items()},
        "forwards": found.forwards,
        "seconds": round(found.seconds, 3),
    }  # fmt: skip
    if target.is_counter and sample.options:
        record |= _correction(case, found)
    return record


def _answered(case: Explainable, found: Explanation) -> dict[str, Any]:
    """The options, and which the model takes with the whole clip; None for an open question."""
    sample = case.sample
    if sample.is_open:
        return {"options": [], "answer": sample.reply, "chosen": None, "correct": None}
    whole = found.curves.insertion[-1, len(case.target.texts) :]
    chosen = int(whole.argmax())
    return {
        "options": list(sample.options),
        "answer": sample.options[sample.answer],
        "chosen": sample.options[chosen],
        "correct": chosen == sample.answer,
    }


def _correction(case: Explainable, found: Explanation) -> dict[str, Any]:
    """What has to go until the counter answer is given, and the answer before and after."""
    sample, target = case.sample, case.target
    p = found.curves.insertion[:, len(target.texts) :]
    wanted = p.argmax(1) == sample.letters.index(target.texts[0])
    # The regions to remove: those after the last point at which that is answered.
    last = int(np.flatnonzero(wanted)[-1]) if wanted.any() else 0
    steps = {"before": p[-1], "after": p[last]}
    return {
        "correction": round(minimal_correction(found.curves.area, wanted), 6),
        "causes": found.order[last:],
        "revised": {
            when: {"answer": sample.options[int(row.argmax())], "p": round(float(row.max()), 6)}
            for when, row in steps.items()
        },
    }


def _regions(found: Explanation) -> list[dict[str, Any]]:
    """For each region its area, attribution, frames, and box in shares of the frame."""
    _, height, width = found.regions.labels.shape
    rows = []
    for index, area in enumerate(found.regions.area):
        frame, y, x = np.nonzero(found.regions.labels == index)
        rows.append(
            {
                "area": round(float(area), 6),
                "attribution": round(float(found.attribution[index]), 6),
                "frames": [int(frame.min()), int(frame.max())],
                "box": _short(
                    np.array([x.min() / width, y.min() / height,
                              (x.max() + 1) / width, (y.max() + 1) / height])
                ),
            }
        )  # fmt: skip
    return rows


def _short(values: Any) -> Any:
    """Six decimals: far below the effects, and short enough to read; None where not known."""
    rounded = np.round(np.asarray(values, float), 6)
    known = rounded.astype(object)
    known[np.isnan(rounded)] = None
    return known.tolist()
