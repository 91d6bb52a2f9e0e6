"""The draft of a search: the plan so far, and the cost and loss of possible next plans."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from prune.layout.edges import EdgeHistogram, edge_histogram
from prune.layout.freezing import updated
from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Segments
from prune.plan.budget import Budget, Measure, Score
from prune.plan.cost import Cost, Geometry, cost_of, dense_cost
from prune.plan.forecast import Forecast, Foresee
from prune.plan.model_id import ModelId
from prune.plan.moves import Candidate, without
from prune.plan.search_result import SearchStep

WORTH = 1 / 5
"""Share of the dense cost that justifies the whole allowed loss. A smaller saving justifies a
proportionally smaller loss, so that small savings do not use up what a large one needs."""


@dataclass(frozen=True)
class Problem:
    """The model, prompt and measure of a search.

    Attributes:
        model: the plan's.
        prompt: a typical prompt, on which costs are counted.
        geometry: of the model.
        dense: the dense model's score on the calibration samples.
        measure: runs a reach table on them.
        part: the same problem on a part of the samples, which ranks plans; None where they are few.
        foresee: forecasts what candidates lose; None where runs alone say it.
        freezing: whether states may be frozen.
    """

    model: ModelId
    prompt: Segments
    geometry: Geometry
    dense: Score
    measure: Measure
    part: "Problem | None" = None
    foresee: Foresee | None = None
    freezing: bool = False


@dataclass(frozen=True)
class Estimate:
    """The loss of a plan by the part of the calibration samples that rank plans.

    Attributes:
        step: how the plan did on these samples.
        before: how the plan so far did on them.
        lost: what it would lose on all samples: the loss of the plan so far, and the difference
            between the two on the part.
    """

    step: SearchStep
    before: Score
    lost: float


class Draft:
    """The plan so far, and every plan that was tried.

    Attributes:
        reach, score: of the plan so far.
        steps: every plan that was run, in order.
        runs_left: passes over the calibration samples that may still be taken.
        reserve: how many of those are kept for later.
        foreseen: passes that forecasts took.
    """

    def __init__(
        self, problem: Problem, budget: Budget, max_runs: int, on_step: Callable[[SearchStep], None]
    ):
        self.problem, self.budget = problem, budget
        self.runs_left, self.reserve, self.on_step = float(max_runs), 0.0, on_step
        self.foreseen = 0.0
        self.histogram: EdgeHistogram = edge_histogram(problem.prompt)
        self.dense_cost = dense_cost(problem.model.num_layers, problem.prompt, problem.geometry)
        self.reach = dense_reach(problem.model.num_layers)
        self.score = problem.dense
        self.steps: list[SearchStep] = []
        self._before: tuple[bytes, Score] | None = None

    def cost(self, reach: Reach) -> Cost:
        """Counted on the typical prompt."""
        return cost_of(reach, self.problem.prompt, self.problem.geometry, histogram=self.histogram)

    def price(self, reach: Reach) -> float:
        """The cost to reduce, as a share of the dense model's."""
        return self.budget.price(self.cost(reach), self.dense_cost)

    @property
    def done(self) -> bool:
        """Whether the required saving is reached."""
        return self.reached(self.reach)

    def reached(self, reach: Reach) -> bool:
        """Whether a plan saves what the budget requires."""
        return self.budget.reached(self.cost(reach), self.dense_cost)

    @property
    def lost(self) -> float:
        """The loss of the plan so far."""
        return self.budget.loss(self.score, self.problem.dense)

    def holds(self, reach: Reach, what: str, allowed: float) -> bool:
        """Run a plan and continue from it if it loses no more than `allowed`."""
        if not self.differs(reach):
            self.reach = reach
            return True
        if self.runs_left <= 0:
            return False
        score = self.run(reach, allowed)
        accepted = self.budget.loss(score, self.problem.dense) <= allowed
        self.note(what, reach, score, accepted)
        if accepted:
            self.reach, self.score = reach, score
        return accepted

    def run(self, reach: Reach, allowed: float) -> Score:
        """Run a plan until it is certain to lose more than `allowed`."""
        return self._run(self.problem, reach, allowed)

    def estimate(self, what: str, reach: Reach, allowed: float = inf) -> Estimate:
        """Run a plan on the part that ranks plans, until it is certain to lose more than `allowed`.

        It is compared with the plan so far on the same samples, so what these have in common drops
        out of the difference.
        """
        part = self.problem.part or self.problem
        before = self._before_on(part)
        common = self.budget.loss(before, part.dense)
        score = self._run(part, reach, allowed - self.lost + common)
        lost = self.lost + self.budget.loss(score, part.dense) - common
        return Estimate(self.note(what, reach, score, False), before, lost)

    def foresee(self, candidates: list[Candidate]) -> Forecast:
        """What removing candidates from the plan so far is expected to lose.

        Raises:
            ValueError: the problem has no forecasts.
        """
        if self.problem.foresee is None:
            raise ValueError("expected a problem with forecasts")
        forecast = self.problem.foresee(self.reach, candidates)
        self.runs_left -= forecast.passes
        self.foreseen += forecast.passes
        return forecast

    def enough(self, block: list[Candidate]) -> list[Candidate]:
        """The shortest prefix of a block that reaches the required saving, or all of it."""
        low, high = 1, len(block)
        while low < high:
            middle = (low + high) // 2
            if self.reached(without(self.reach, block[:middle])):
                high = middle
            else:
                low = middle + 1
        return block[:low]

    def on_all(self, step: SearchStep, reach: Reach) -> SearchStep:
        """A step on all samples: the given one if it is, or another run of its plan."""
        if step.score.samples == self.problem.dense.samples:
            return step
        return self.note(step.what, reach, self.run(reach, inf), False)

    def _before_on(self, part: Problem) -> Score:
        """The score of the plan so far, on a part of the samples."""
        if part is self.problem:
            return self.score
        now = self.reach.tobytes()
        if self._before is None or self._before[0] != now:
            score = self._run(part, self.reach, inf)
            self.note("the plan so far", self.reach, score, False)
            self._before = now, score
        return self._before[1]

    def _run(self, problem: Problem, reach: Reach, allowed: float) -> Score:
        score = problem.measure(reach, self.budget.hopeless(allowed, problem.dense))
        self.runs_left -= score.samples / self.problem.dense.samples
        return score

    def differs(self, reach: Reach) -> bool:
        """Whether a plan keeps other edges of the prompt, or freezes others, than that so far."""
        kept = self.histogram.kept_by_roles
        same = (kept(reach) == kept(self.reach)).all()
        return not bool(same and (updated(reach) == updated(self.reach)).all())

    def note(self, what: str, reach: Reach, score: Score, accepted: bool) -> SearchStep:
        """Record a step."""
        step = SearchStep(what, self.cost(reach), score, accepted)
        self.steps.append(step)
        self.on_step(step)
        return step

    def worth(self, allowed: float) -> Callable[[Reach], float]:
        """The loss allowed to successors of the current plan, given what they save."""
        now, lost = self.price(self.reach), self.lost
        return lambda reach: min(allowed, lost + allowed * (now - self.price(reach)) / WORTH)
