"""From a trace to a plan: remove edges in order of harm per edge, and check every step.

Trace scores only rank. Whether a step stays is decided by real runs of the pruned model on the
calibration samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prune.edges import EdgeHistogram
from prune.errors import BadInputError, UsageError
from prune.pathways import PATHWAYS, Pathway, Reach, dense_reach, remove_pathway
from prune.plan.plan import Plan
from prune.plan.schema import ModelId


@dataclass(frozen=True)
class Score:
    """What a plan makes of the calibration samples, in percent.

    Attributes:
        accuracy: share of right answers.
        expected: mean probability of the right option, which is the accuracy of an answer drawn
            from the model. It moves before answers flip, so a search over few samples fits less
            noise.
    """

    accuracy: float
    expected: float

    def lost(self, dense: "Score") -> float:
        """Points below the dense model, by the measure that lost more."""
        return max(dense.accuracy - self.accuracy, dense.expected - self.expected)


Measure = Callable[[Reach, float | None], Score]
"""Runs a reach table on the calibration samples. It may give up early on a plan that will clearly
lose more than the second argument in points; the score is then what had been seen."""

SMALL = 0.001
"""Candidates with a smaller share of all edges come last: they are not worth a run of their own."""


@dataclass(frozen=True)
class Candidate:
    """One pathway in one layer, with the harm that the trace saw and the edges it would remove."""

    pathway: Pathway
    layer: int
    harm: float
    edges: int
    small: bool

    @property
    def order(self) -> tuple[bool, float, int, str, int]:
        """Least harm per edge first; ties by size, then by name, so that the order is fixed."""
        return self.small, self.harm / self.edges, -self.edges, self.pathway.name, self.layer


@dataclass(frozen=True)
class Step:
    """A plan that was tried: its density, its score, and whether it was kept."""

    density: float
    score: Score
    accepted: bool


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    plan: Plan
    steps: tuple[Step, ...]
    dense: Score


def candidates(
    harm: dict[str, np.ndarray], histogram: EdgeHistogram, num_layers: int
) -> list[Candidate]:
    """Every (pathway, layer) in the order in which a search removes them.

    Args:
        harm: for each pathway how much it matters in each layer, `[L]` (`Trace.harm`).
        histogram: edges of a typical prompt.
        num_layers: L.
    """
    found = []
    for name, by_layer in harm.items():
        table = dense_reach(1)
        remove_pathway(table, PATHWAYS[name], [0])
        edges = histogram.causal - int(histogram.kept(table)[0, 0])
        small = edges < SMALL * histogram.causal * num_layers
        found += [
            Candidate(PATHWAYS[name], layer, float(by_layer[layer]), edges, small)
            for layer in range(num_layers)
            if edges > 0
        ]
    return sorted(found, key=lambda c: c.order)


def search(
    ranked: list[Candidate],
    histogram: EdgeHistogram,
    model: ModelId,
    measure: Measure,
    dense: Score,
    *,
    max_drop: float | None = None,
    density: float | None = None,
    max_runs: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Found:
    """Remove candidates in order as long as the budget holds.

    With `max_drop`, blocks of candidates are tried together, half of them at first. After one that
    holds the next is twice as large; in one that does not, bisection finds the candidate that was
    too much, which stays for good. With `density`, candidates are removed until
    that share of edges is left, whatever it costs, and the cost is reported.

    Args:
        ranked: from `candidates`.
        histogram: edges of a typical prompt.
        model: what the plan is for.
        measure: runs a reach table on the calibration samples.
        dense: the dense model's score on them.
        max_drop: points that may be lost (`Score.lost`).
        density: share of edges to keep.
        max_runs: most calls of `measure`.
        on_step: called after each.

    Raises:
        UsageError: not exactly one of `max_drop` and `density` is given.
        BadInputError: the density cannot be reached.
    """
    if (max_drop is None) == (density is None):
        raise UsageError("give exactly one of max_drop and density")
    steps: list[Step] = []

    def removed(chosen: list[Candidate]) -> Reach:
        reach = dense_reach(model.num_layers)
        for candidate in chosen:
            remove_pathway(reach, candidate.pathway, [candidate.layer])
        return reach

    def density_of(reach: Reach) -> float:
        return float(histogram.kept(reach).sum() / (histogram.causal * len(reach)))

    if density is not None:
        taken: list[Candidate] = []
        for candidate in ranked:
            if density_of(removed(taken)) <= density:
                break
            taken.append(candidate)
        reach = removed(taken)
        if density_of(reach) > density:
            raise BadInputError(f"a density of {density} cannot be reached with these pathways")
        steps.append(Step(density_of(reach), measure(reach, None), True))
        on_step(steps[-1])
        return Found(_plan(reach, model, {"density": density}), tuple(steps), dense)

    assert max_drop is not None
    kept_out: list[Candidate] = []
    rest, size = ranked, max(1, len(ranked) // 2)
    suspects = 0  # So many candidates at the front of `rest` were too much together.
    while rest and len(steps) < max_runs:
        if suspects == 1:
            rest, suspects = rest[1:], 0
            continue
        block = rest[: suspects // 2 or size]
        reach = removed(kept_out + block)
        # What earlier steps removed already (video -> video covers cross-frame) needs no run.
        holds = bool((reach == removed(kept_out)).all())
        if not holds:
            score = measure(reach, max_drop)
            holds = score.lost(dense) <= max_drop
            steps.append(Step(density_of(reach), score, holds))
            on_step(steps[-1])
        if holds:
            kept_out, rest = kept_out + block, rest[len(block) :]
            suspects, size = max(0, suspects - len(block)), size if suspects else 2 * size
        else:
            suspects, size = len(block), size if suspects else max(1, size // 2)
    return Found(_plan(removed(kept_out), model, {"max_drop": max_drop}), tuple(steps), dense)


def _plan(reach: Reach, model: ModelId, budget: dict[str, float]) -> Plan:
    (name, value), *_ = budget.items()
    return Plan(reach, model, f"{name} {value:g}", {"method": "greedy", **budget})
