"""The plan so far in a search, and what each way to go on from it costs and loses."""

from collections.abc import Callable
from dataclasses import dataclass

from prune.layout.edges import EdgeHistogram, edge_histogram
from prune.layout.pathways import Reach, dense_reach
from prune.layout.segments import Segments
from prune.plan.budget import Budget, Measure, Score
from prune.plan.cost import Cost, Geometry, cost_of, dense_cost
from prune.plan.model_id import ModelId
from prune.plan.search_result import SearchStep

WORTH = 1 / 5
"""Share of the dense cost for which all that may be lost may go. What saves less may take less in
proportion, so that no small saving uses up what a large one needs, and none is paid for dearly."""


@dataclass(frozen=True)
class Problem:
    """What a plan is searched for.

    Attributes:
        model: the plan's.
        prompt: a typical prompt, on which costs are counted.
        geometry: of the model.
        dense: the dense model's score on the calibration samples.
        measure: runs a reach table on them.
    """

    model: ModelId
    prompt: Segments
    geometry: Geometry
    dense: Score
    measure: Measure


class Draft:
    """The plan so far, and what was tried on the way to it.

    Attributes:
        reach, score: of the plan so far.
        steps: every plan that was run, in order.
        runs_left: passes over the calibration samples that may still be taken.
        reserve: how many of those are kept for later.
    """

    def __init__(
        self, problem: Problem, budget: Budget, max_runs: int, on_step: Callable[[SearchStep], None]
    ):
        self.problem, self.budget = problem, budget
        self.runs_left, self.reserve, self.on_step = float(max_runs), 0.0, on_step
        self.histogram: EdgeHistogram = edge_histogram(problem.prompt)
        self.dense_cost = dense_cost(problem.model.num_layers, problem.prompt, problem.geometry)
        self.reach = dense_reach(problem.model.num_layers)
        self.score = problem.dense
        self.steps: list[SearchStep] = []

    def cost(self, reach: Reach) -> Cost:
        """Counted on the typical prompt."""
        return cost_of(reach, self.problem.prompt, self.problem.geometry, histogram=self.histogram)

    def price(self, reach: Reach) -> float:
        """What is to become small, as a share of the dense model's."""
        return self.budget.price(self.cost(reach), self.dense_cost)

    @property
    def done(self) -> bool:
        """Whether nothing more has to be saved."""
        return self.reached(self.reach)

    def reached(self, reach: Reach) -> bool:
        """Whether a plan saves what the budget asks for."""
        return self.budget.reached(self.cost(reach), self.dense_cost)

    @property
    def lost(self) -> float:
        """What the plan so far loses."""
        return self.budget.loss(self.score, self.problem.dense)

    def holds(self, reach: Reach, what: str, allowed: float) -> bool:
        """Run a plan and go on from it if it loses no more than `allowed`."""
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
        """Run a plan until it must lose more than `allowed`."""
        dense = self.problem.dense
        score = self.problem.measure(reach, self.budget.hopeless(allowed, dense))
        self.runs_left -= score.samples / dense.samples
        return score

    def differs(self, reach: Reach) -> bool:
        """Whether a plan keeps other edges of the prompt than the plan so far."""
        kept = self.histogram.kept_by_roles
        return bool((kept(reach) != kept(self.reach)).any())

    def note(self, what: str, reach: Reach, score: Score, accepted: bool) -> SearchStep:
        """Write a step down."""
        step = SearchStep(what, self.cost(reach), score, accepted)
        self.steps.append(step)
        self.on_step(step)
        return step

    def worth(self, allowed: float) -> Callable[[Reach], float]:
        """What plans that go on from the one so far may lose, for what they save."""
        now, lost = self.price(self.reach), self.lost
        return lambda reach: min(allowed, lost + allowed * (now - self.price(reach)) / WORTH)
