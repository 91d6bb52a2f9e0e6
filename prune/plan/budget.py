"""Budgets of a search, and the scores on calibration samples that they limit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from prune.errors import UsageError
from prune.layout.pathways import Reach
from prune.plan.cost import Cost

Kind = Literal["max_drop", "max_kl", "density", "prefill_speedup", "kv_bytes"]

Objective = Literal["flops", "edges", "kv_bytes"]
"""What a search reduces: prefill FLOPs (without dead states), edges, or the KV cache."""

QUALITY: tuple[Kind, ...] = ("max_drop", "max_kl")
"""Budgets that limit the loss; the others set how much must be saved."""


WORST_TASK = 3
"""Multiple of the allowance that a single task may lose."""


@dataclass(frozen=True)
class Score:
    """Quality of a model's answers to the calibration samples under a plan.

    Attributes:
        accuracy: share of correct answers among the options, in percent.
        expected: mean probability of the true option, in percent: the accuracy of an answer drawn
            from the model. It moves before answers flip, so a search over few samples fits less
            noise; confidence drops before accuracy does, so it is the stricter of the two.
        kl: mean Kullback-Leibler divergence of the answers over the options from the dense
            model's, in nats.
        samples: how many were run; those skipped for a hopeless plan count as unchanged.
        spread: standard deviation over samples of what each loses in `expected`, in points; if
            several are about one video, that of as many independent samples with the same error.
        worst: points of expected accuracy lost by the task that loses most.
        videos: how many videos all samples are about, None if each has one of its own.
    """

    accuracy: float
    expected: float
    kl: float
    samples: int
    spread: float = 0.0
    worst: float = 0.0
    videos: int | None = None

    def lost(self, dense: "Score") -> float:
        """Points of expected accuracy below the dense model, or a share of the worst task's.

        Counting answers would be too noisy: one of 200 is half a point. A mean over tasks alone
        would let a single task bear the whole loss. A standard error by video is added, because
        a search selects cuts that happen to be harmless on its own samples, and other samples
        should not lose more than was allowed.
        """
        mean = dense.expected - self.expected
        error: float = self.spread / dense.samples**0.5
        return max(mean + error, self.worst / WORST_TASK)


WON_BACK = 1
"""Answers by which a partly run plan may exceed its allowance before the run is abandoned."""

Hopeless = Callable[[Score], bool]
"""Whether, by the samples seen so far, a plan can no longer end within its allowance."""

Measure = Callable[[Reach, Hopeless], Score]
"""Runs a reach table on the calibration samples; it may abandon a hopeless plan early."""


@dataclass(frozen=True)
class Budget:
    """The constraint and objective of a search.

    Attributes:
        kind: `max_drop` (points of accuracy that may be lost) and `max_kl` (nats) limit the harm;
            `density` (share of edges to keep), `prefill_speedup` (counted FLOPs, dense over pruned)
            and `kv_bytes` (of one prompt's cache) set what has to be reached.
        value: the number.
        objective: what to reduce within a limit of the harm, or beyond the required saving.
    """

    kind: Kind
    value: float
    objective: Objective = "flops"

    @staticmethod
    def of(**given: float | None) -> "Budget":
        """The one budget among keyword arguments; raises `UsageError` unless there is one."""
        named = {kind: value for kind, value in given.items() if value is not None}
        if len(named) != 1:
            flags = ", ".join(f"--{kind.replace('_', '-')}" for kind in get_args(Kind))
            raise UsageError(f"give exactly one of {flags}")
        ((kind, value),) = named.items()
        return Budget(kind, value)  # type: ignore[arg-type]

    @property
    def limits_harm(self) -> bool:
        """Whether the budget limits the loss rather than requiring a saving."""
        return self.kind in QUALITY

    def loss(self, score: Score, dense: Score) -> float:
        """The loss of a plan: nats for `max_kl`, else points."""
        return score.kl if self.kind == "max_kl" else score.lost(dense)

    def samples_needed(self, score: Score) -> int | None:
        """How many samples would distinguish a loss of this budget from chance, at 95%.

        By the normal approximation from what the samples at hand lost each, with as many samples
        per video; None where the budget is not one of points.

        Args:
            score: of the plan that was found.
        """
        if self.kind != "max_drop" or not self.value:
            return None
        return math.ceil((1.96 * score.spread / self.value) ** 2)

    def hopeless(self, allowed: float, dense: Score) -> Hopeless:
        """When a run over part of the samples, in any order, may stop.

        A divergence cannot decrease; for points, a run stops if the rest would have to win back
        more than `WON_BACK` answers, which pruning does not do. A plan is only ever accepted on all
        samples, so stopping early can reject, and never accept, by chance.
        """
        won_back = 0.0 if self.kind == "max_kl" else 100 * WON_BACK / dense.samples
        return lambda score: self.loss(score, dense) > allowed + won_back

    def price(self, cost: Cost, dense: Cost) -> float:
        """The cost that a search reduces, as a share of the dense model's.

        It is what the budget asks for, else the objective.
        """
        asked: dict[Kind, Objective] = {"density": "edges", "kv_bytes": "kv_bytes"}
        name = asked.get(self.kind, self.objective)
        share: float = getattr(cost, name) / getattr(dense, name)
        return share

    def reached(self, cost: Cost, dense: Cost) -> bool:
        """Whether a plan saves what the budget asks for; never for one that limits the harm."""
        match self.kind:
            case "density":
                return cost.edges <= self.value * dense.edges
            case "prefill_speedup":
                return dense.flops >= self.value * cost.flops
            case "kv_bytes":
                return cost.kv_bytes <= self.value
        return False
