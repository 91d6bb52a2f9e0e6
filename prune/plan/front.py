"""The Pareto front of a search."""

from dataclasses import dataclass

from prune.plan.cost import Cost
from prune.plan.search_result import SearchResult, SearchStep


@dataclass(frozen=True)
class Point:
    """A plan that was tried on all calibration samples, or the dense model.

    Attributes:
        what: what it removed last.
        edges, flops, kv_bytes: shares of the dense model's, 0 to 1.
        accuracy, expected: of the calibration samples, in percent (`prune.plan.budget.Score`).
        accepted: whether the search continued from it.
        best: whether it is on the Pareto front: no other is at least as good in accuracy, agreement
            and all three costs, and better in one.
        agreement: of the calibration samples, in percent.
    """

    what: str
    edges: float
    flops: float
    kv_bytes: float
    accuracy: float
    expected: float
    accepted: bool
    best: bool
    agreement: float = 100.0


def front(found: SearchResult) -> tuple[Point, ...]:
    """The plans of a search that ran on all samples, cheapest FLOPs first, and the dense model."""
    dense = SearchStep("dense", found.dense_cost, found.dense, True)
    steps = [step for step in found.steps if step.score.samples == found.dense.samples]
    tried = sorted([dense, *steps], key=lambda step: (step.cost.flops, step.cost.edges, step.what))
    return tuple(_point(step, found.dense_cost, tried) for step in tried)


def _point(step: SearchStep, dense: Cost, tried: list[SearchStep]) -> Point:
    return Point(
        step.what,
        step.cost.edges / dense.edges,
        step.cost.flops / dense.flops,
        step.cost.kv_bytes / dense.kv_bytes,
        step.score.accuracy,
        step.score.expected,
        step.accepted,
        not any(_beats(other, step) for other in tried),
        step.score.agreement,
    )


def _beats(one: SearchStep, other: SearchStep) -> bool:
    """Whether `one` is at least as good everywhere, and better somewhere."""
    a, b = (
        (
            s.cost.edges,
            s.cost.flops,
            s.cost.kv_bytes,
            -s.score.accuracy,
            -s.score.expected,
            -s.score.agreement if s.score.open else 0.0,
        )
        for s in (one, other)
    )
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b
