"""Budgets of a search, and the scores on calibration samples that they limit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from prune.errors import UsageError
from prune.layout.reach import Reach
from prune.plan.cost import Cost

Kind = Literal["max_drop", "max_kl", "min_agreement", "density", "prefill_speedup", "kv_bytes"]

Unit = Literal["points", "nats"]

Objective = Literal["flops", "edges", "kv_bytes", "hallucination"]
"""What a search reduces: prefill FLOPs (without dead states), edges, the KV cache, or how much the
model says is there that is not (`prune.plan.mend`)."""

QUALITY: tuple[Kind, ...] = ("max_drop", "max_kl", "min_agreement")
"""Budgets that limit the loss, and may be given together; the others set how much must be saved."""

MAX_DROP, MIN_AGREEMENT = 0.5, 98.0
"""Limits where none is given: of questions with options, and of open ones."""


WORST_TASK = 3
"""Multiple of the allowance that a single task may lose."""


@dataclass(frozen=True)
class Score:
    """Quality of a model's answers and replies to the calibration samples under a plan.

    Attributes:
        accuracy: share of correct answers among the options, in percent; 0 without any options.
        expected: mean probability of the true option, in percent: the accuracy of an answer drawn
            from the model. It moves before answers flip, so a search over few samples fits less
            noise; confidence drops before accuracy does, so it is the stricter of the two.
        kl: mean Kullback-Leibler divergence from the dense model, in nats: of answers over the
            options, and of replies over the vocabulary, mean over their tokens.
        samples: how many were run; those skipped for a hopeless plan count as unchanged.
        spread: standard deviation over samples of what each loses in `expected`, in points; if
            several are about one video, that of as many independent samples with the same error.
        worst: points of expected accuracy lost by the task that loses most.
        videos: how many videos all samples are about, None if each has one of its own.
        agreement: mean share of answers that stay the same, and of the reply's tokens whose
            likeliest token does, in percent.
        disagreement: mean points of agreement that are lost, where a token (or an answer) that
            stays counts by how much of its probability is lost: as `expected` does, it moves before
            tokens flip.
        agreement_spread, agreement_worst: as `spread` and `worst`, of `disagreement`.
        open: how many of the samples are open.
        absent, present: how many of them ask, to be answered by yes or no, for what is not there,
            and for what is.
        false_yes, false_no: mean probability of the wrong one of the two, of each, in percent.
    """

    accuracy: float
    expected: float
    kl: float
    samples: int
    spread: float = 0.0
    worst: float = 0.0
    videos: int | None = None
    agreement: float = 100.0
    disagreement: float = 0.0
    agreement_spread: float = 0.0
    agreement_worst: float = 0.0
    open: int = 0
    absent: int = 0
    present: int = 0
    false_yes: float = 0.0
    false_no: float = 0.0

    @property
    def given(self) -> int:
        """The samples on which the loss of a plan rests; of the dense model's score."""
        return self.samples

    def disagreed(self, dense: "Score") -> float:
        """Points of agreement lost, as `lost` counts those of expected accuracy."""
        error: float = self.agreement_spread / dense.samples**0.5
        mean = max(100 - self.agreement, self.disagreement)
        return max(mean + error, self.agreement_worst / WORST_TASK)

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
        kind: `max_drop` (points of accuracy that may be lost), `max_kl` (nats) and `min_agreement`
            (percent of answers and reply tokens that have to stay the same) limit the harm;
            `density` (share of edges to keep), `prefill_speedup` (counted FLOPs, dense over pruned)
            and `kv_bytes` (of one prompt's cache) set what has to be reached.
        value: the number.
        objective: what to reduce within a limit of the harm, or beyond the required saving.
        also: further limits of the harm, which hold at the same time.
    """

    kind: Kind
    value: float
    objective: Objective = "flops"
    also: tuple[tuple[Kind, float], ...] = ()

    @staticmethod
    def of(**given: float | None) -> "Budget":
        """The budget among keyword arguments.

        Raises:
            UsageError: there is none, or there are several that do not all limit the harm.
        """
        named: list[tuple[Kind, float]] = [
            (kind, value) for kind in get_args(Kind) if (value := given.get(kind)) is not None
        ]
        if not named or (len(named) > 1 and any(kind not in QUALITY for kind, _ in named)):
            limits, savings = (
                ", ".join(flag_of(kind) for kind in get_args(Kind) if (kind in QUALITY) == limit)
                for limit in (True, False)
            )
            raise UsageError(f"give limits of the harm ({limits}), or exactly one of {savings}")
        (kind, value), *also = named
        return Budget(kind, value, also=tuple(also))

    @staticmethod
    def default(options: int, open: int) -> "Budget":
        """The limits where none is given, for as many samples with options and open ones."""
        drop, agreement = MAX_DROP if options else None, MIN_AGREEMENT if open else None
        return Budget.of(max_drop=drop, min_agreement=agreement)

    @property
    def limits_harm(self) -> bool:
        """Whether the budget limits the loss rather than requiring a saving."""
        return self.kind in QUALITY

    @property
    def limits(self) -> tuple[tuple[Kind, float], ...]:
        """Every limit of the harm, the first one in front; none of a required saving."""
        return ((self.kind, self.value), *self.also) if self.limits_harm else ()

    @property
    def asked(self) -> str:
        """As options of a command, for example `--max-drop 0.5`."""
        given = self.limits or ((self.kind, self.value),)
        return " ".join(f"{flag_of(kind)} {value:g}" for kind, value in given)

    @property
    def unit(self) -> Unit:
        """Of losses: nats for `max_kl`, else points."""
        return "nats" if self.kind == "max_kl" else "points"

    @property
    def allowance(self) -> float:
        """The loss that the first limit allows, in nats or points."""
        return allowance_of(self.kind, self.value)

    def check(self, options: int, open: int) -> None:
        """Check that the limits say something of all samples.

        Raises:
            UsageError: there are open ones, or none with options, and only `max_drop` is limited.
        """
        if open and {kind for kind, _ in self.limits} == {"max_drop"}:
            raise UsageError(
                f"{open} of {options + open} questions are open, which --max-drop does not limit: "
                "give --min-agreement or --max-kl, too"
            )
        if not options and any(kind == "max_drop" for kind, _ in self.limits):
            raise UsageError("--max-drop needs questions with options: give --min-agreement")
        if self.objective == "hallucination" and not self.limits_harm:
            raise UsageError(
                f"--objective hallucination saves nothing by itself: give --max-drop in place of "
                f"{self.asked}"
            )

    def loss(self, score: Score, dense: Score) -> float:
        """The loss of a plan: nats for `max_kl`, else points.

        Of several limits, the one that is used up most counts, in units of the first. Where a
        saving is required, it is the larger one of lost accuracy and lost agreement.
        """
        if not self.limits_harm:
            losses = [score.lost(dense)] if dense.open < dense.samples else []
            return max([*losses, *([score.disagreed(dense)] if dense.open else [])])
        first = _loss(self.kind, score, dense)
        return max([first, *(self._scaled(*limit, score, dense) for limit in self.also)])

    def _scaled(self, kind: Kind, value: float, score: Score, dense: Score) -> float:
        """The loss under a further limit, in units of the first one."""
        loss, allowed = _loss(kind, score, dense), allowance_of(kind, value)
        if min(allowed, self.allowance) <= 0:
            return math.inf if loss > allowed else 0.0
        return self.allowance * loss / allowed

    def samples_needed(self, score: Score) -> int | None:
        """How many samples would distinguish a loss of this budget from chance, at 95%.

        By the normal approximation from what the samples at hand lost each, with as many samples
        per video; None where no limit is one of points.

        Args:
            score: of the plan that was found.
        """
        spread = {"max_drop": score.spread, "min_agreement": score.agreement_spread}
        needed = [
            math.ceil((1.96 * spread[kind] / allowed) ** 2)
            for kind, value in self.limits
            if kind in spread and (allowed := allowance_of(kind, value))
        ]
        return max(needed, default=None)

    def hopeless(self, allowed: float, dense: Score) -> Hopeless:
        """When a run over part of the samples, in any order, may stop.

        A divergence cannot decrease; for points, a run stops if the rest would have to win back
        more than `WON_BACK` answers, which pruning does not do. A plan is only ever accepted on all
        samples, so stopping early can reject, and never accept, by chance.
        """
        won_back = 0.0 if self.kind == "max_kl" else 100 * WON_BACK / dense.given
        return lambda score: self.loss(score, dense) > allowed + won_back

    def price(self, cost: Cost, dense: Cost) -> float:
        """The cost that a search reduces, as a share of the dense model's.

        It is what the budget asks for, else the objective, or FLOPs where that is no cost.
        """
        asked: dict[Kind, Objective] = {"density": "edges", "kv_bytes": "kv_bytes"}
        name = asked.get(self.kind, self.objective)
        name = "flops" if name == "hallucination" else name
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


def flag_of(kind: Kind) -> str:
    """The option of a command that gives a budget of this kind."""
    return f"--{kind.replace('_', '-')}"


def allowance_of(kind: Kind, value: float) -> float:
    """The loss that a limit allows: for `min_agreement` what is missing from 100%."""
    return 100 - value if kind == "min_agreement" else value


def _loss(kind: Kind, score: Score, dense: Score) -> float:
    if kind == "max_kl":
        return score.kl
    return score.disagreed(dense) if kind == "min_agreement" else score.lost(dense)
