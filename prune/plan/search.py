"""From a trace to a plan: remove what costs much and carries little, and check every step.

Trace scores only rank. Whether a step stays is decided by real runs of the pruned model on the
calibration samples. Everything is deterministic: the same trace and samples give the same plan.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from prune.edges import EdgeHistogram, edge_histogram
from prune.errors import BadInputError
from prune.pathways import Pathway, Reach, dense_reach
from prune.plan.budget import Budget, Measure, Score
from prune.plan.cost import Cost, Geometry, cost_of, dense_cost
from prune.plan.found import Found, Harm, Step
from prune.plan.moves import Candidate, Slide, closed, removed_layers, restored, slides, without
from prune.plan.plan import Plan
from prune.plan.schema import ModelId
from prune.segments import Segments

WORTH = 1 / 5
"""Share of the dense cost for which all that may be lost may go. What saves less may take less in
proportion, so that no small saving uses up what a large one needs, and none is paid for dearly."""

ALONE = 2 / 3
"""Share of the runs that are left in which candidates are cut alone, to see what each of them costs
beside the structures that are gone already. A trace says it only of the dense model."""

DEAR = 1 / 4
"""Share of what may be lost that a pathway has to win back, beyond what leaving it out is worth, to
be given back at the end. Less may be chance."""

SMALL = 0.001
"""Share of the dense cost below which candidates come last, whatever their harm."""

LADDER = (0.25, 1.0, 4.0, 16.0, 64.0)
"""Points that may be lost, one after the other, until a plan saves what was asked for. Each has an
equal share of the runs, and so has giving back, since most lie far from the plan asked for."""


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


def search(
    problem: Problem,
    ranked: list[Candidate],
    budget: Budget,
    *,
    max_runs: int,
    method: str = "greedy",
    heads: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Found:
    """Find the cheapest plan within a budget.

    First each structure (`prune.plan.moves.slides`) goes to the farthest setting that holds; then
    single candidates are cut alone, and removed in order of what that lost for what it saved. At
    the end pathways that later cuts made dear are given back, for others.
    Where a budget says what has to be saved, the first two are repeated with a larger allowance
    until it is reached, so that the least is lost; what is left to do after the last is done
    whatever it costs. Then what the saving does not need is given back.

    Ctrl-C ends the search with the best plan so far.

    Args:
        problem: what to search for.
        ranked: candidates (`prune.plan.moves.candidates`), in any order.
        budget: what may be lost, or has to be saved.
        max_runs: most passes over the calibration samples, beside one for each harm that is
            reported. A run that is given up early counts in part.
        method: where the ranking is from, for the plan's origin.
        heads: Hkv, to go on with single KV heads where a whole layer's pathway has to stay. It
            removes more edges, and no more states.
        on_step: called after each.

    Raises:
        BadInputError: the budget cannot be reached with these candidates.
    """
    state = _Search(problem, budget, max_runs, on_step)
    interrupted = False
    try:
        if budget.limits_harm:
            state.descend(ranked, budget.value)
            if heads is not None:
                state.split(ranked, heads, budget.value)
        else:
            for rung, allowed in enumerate(LADDER):
                state.reserve = max_runs * (1 - (rung + 1) / (len(LADDER) + 1))
                state.descend(ranked, allowed)
                if state.done:
                    break
            else:
                state.finish(ranked)
            state.repay(ranked)
        tried = state.settle(ranked) if budget.limits_harm else state.given_back(ranked)
        harms = state.harms(tried)
    except KeyboardInterrupt:
        interrupted, harms = True, ()
    if budget.limits_harm:
        state.reach = closed(state.reach)
    return Found(
        plan=Plan(
            state.reach,
            problem.model,
            f"{budget.kind.replace('_', ' ')} {budget.value:g}",
            {"method": method, "objective": budget.objective, budget.kind: budget.value},
        ),
        score=state.score,
        cost=state.cost(state.reach),
        dense=problem.dense,
        dense_cost=state.dense_cost,
        steps=tuple(state.steps),
        harms=harms,
        interrupted=interrupted,
        exhaustive=len(ranked) * (len(ranked) + 1) // 2 * problem.dense.samples,
        budget=budget,
    )


class _Search:
    """The plan so far, and the ways to go on from it."""

    def __init__(
        self, problem: Problem, budget: Budget, max_runs: int, on_step: Callable[[Step], None]
    ):
        self.problem, self.budget = problem, budget
        self.runs_left, self.reserve, self.on_step = float(max_runs), 0.0, on_step
        self.histogram: EdgeHistogram = edge_histogram(problem.prompt)
        self.dense_cost = dense_cost(problem.model.num_layers, problem.prompt, problem.geometry)
        self.reach = dense_reach(problem.model.num_layers)
        self.score = problem.dense
        self.steps: list[Step] = []

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

    def note(self, what: str, reach: Reach, score: Score, accepted: bool) -> Step:
        """Write a step down."""
        step = Step(what, self.cost(reach), score, accepted)
        self.steps.append(step)
        self.on_step(step)
        return step

    def descend(self, ranked: list[Candidate], allowed: float) -> None:
        """Remove structures, then candidates, while the loss stays within `allowed`."""
        num_frames = self.histogram.pairs.shape[-1]
        for slide in slides(self.problem.model.num_layers, num_frames):
            if not self.done:
                self.slide(slide, allowed)
        if not self.done:
            if self.budget.limits_harm:
                self.reach = closed(self.reach)
            self.remove(self.by_loss_per_cost(self.by_harm_per_cost(ranked), allowed), allowed)

    def split(self, ranked: list[Candidate], heads: int, allowed: float) -> None:
        """Remove in single KV heads what has to stay in others."""
        self.reach = np.repeat(self.reach, heads, 1)
        single = [
            replace(candidate, harm=candidate.harm / heads, head=head)
            for candidate in ranked
            for head in range(heads)
        ]
        self.remove(self.by_loss_per_cost(self.by_harm_per_cost(single), allowed), allowed)

    def worth(self, allowed: float) -> Callable[[Reach], float]:
        """What plans that go on from the one so far may lose, for what they save."""
        now, lost = self.price(self.reach), self.lost
        return lambda reach: min(allowed, lost + allowed * (now - self.price(reach)) / WORTH)

    def slide(self, slide: Slide, allowed: float) -> None:
        """Take a structure as far as it is worth what it loses.

        The farthest settings are tried first: they lose so much that few samples tell. Bisection
        would miss those that lose less than a nearer one, which happens.
        """
        start, worth = self.reach, self.worth(allowed)
        for setting in range(slide.settings, 0, -1):
            reach = slide.at(start, setting)
            if self.reached(slide.at(start, setting - 1)):
                continue
            if self.holds(reach, slide.title(setting), worth(reach)):
                break

    def by_harm_per_cost(self, ranked: list[Candidate]) -> list[Candidate]:
        """Least harm for what it saves first; small savings last, and none at all left out."""
        now = self.price(self.reach)
        order = []
        for index, candidate in enumerate(ranked):
            reach = without(self.reach, [candidate])
            if self.differs(reach):
                saved = now - self.price(reach)
                key = saved < SMALL, candidate.harm / max(saved, 1e-9), -saved, index
                order.append((key, candidate))
        return [candidate for _, candidate in sorted(order, key=lambda item: item[0])]

    def by_loss_per_cost(self, ranked: list[Candidate], allowed: float) -> list[Candidate]:
        """Least loss for what it saves first; what loses more than `allowed` alone is left out.

        Candidates for which runs do not suffice stay behind the others, in the order given.
        """
        now, before = self.price(self.reach), self.lost
        enough = self.reserve + (1 - ALONE) * (self.runs_left - self.reserve)
        order, rest = [], ranked
        while rest and self.runs_left > enough:
            (candidate, *rest) = rest
            reach = without(self.reach, [candidate])
            score = self.run(reach, allowed)
            self.note(f"{candidate.name} alone", reach, score, False)
            lost = self.budget.loss(score, self.problem.dense)
            if lost <= allowed:
                saved = max(now - self.price(reach), 1e-9)
                order.append((max(0.0, lost - before) / saved, -saved, candidate))
        order.sort(key=lambda item: item[:2])
        return [candidate for *_, candidate in order] + rest

    def remove(self, rest: list[Candidate], allowed: float) -> None:
        """Remove candidates in blocks, half of them at first.

        After a block that holds the next is twice as large; in one that does not, bisection finds
        the candidate that was too much, which stays for good.
        """
        size, suspects, worth = max(1, len(rest) // 2), 0, self.worth(allowed)
        while rest and self.runs_left > self.reserve and not self.done:
            if suspects == 1:
                rest, suspects = rest[1:], 0
                continue
            block = self.enough(rest[: suspects // 2 or size])
            title = block[0].name + (f" and {len(block) - 1} more" if len(block) > 1 else "")
            reach = without(self.reach, block)
            if self.holds(reach, title, worth(reach)):
                rest = rest[len(block) :]
                suspects, size = max(0, suspects - len(block)), size if suspects else 2 * size
            else:
                suspects, size = len(block), size if suspects else max(1, size // 2)

    def enough(self, block: list[Candidate]) -> list[Candidate]:
        """The first part of a block that saves what was asked for, or all of it."""
        low, high = 1, len(block)
        while low < high:
            middle = (low + high) // 2
            if self.reached(without(self.reach, block[:middle])):
                high = middle
            else:
                low = middle + 1
        return block[:low]

    def finish(self, ranked: list[Candidate]) -> None:
        """Remove candidates until enough is saved, whatever is lost."""
        block = self.enough(self.by_harm_per_cost(ranked))
        reach = without(self.reach, block)
        if not self.reached(reach):
            raise BadInputError(
                f"{self.budget.kind.replace('_', ' ')} {self.budget.value:g} cannot be reached "
                "with the pathways that were traced"
            )
        self.runs_left = max(1, self.runs_left)
        self.holds(reach, f"{len(block)} more, whatever they cost", float("inf"))

    def repay(self, ranked: list[Candidate]) -> None:
        """Give back what a saving that was asked for does not need: the local refinement.

        What went on a lower rung may be what the plan needs now, and a structure often saves more
        than was missing.
        """
        wins = []
        for pathway in _pathways(ranked):
            reach = self.affordable(pathway)
            if self.differs(reach) and self.runs_left > 0:
                score = self.run(reach, self.lost)
                self.note(f"{pathway.title} given back where it is free", reach, score, False)
                lost = self.budget.loss(score, self.problem.dense)
                wins.append((lost, pathway.name, pathway))
        for lost, _, pathway in sorted(wins):
            reach = self.affordable(pathway)
            if lost < self.lost and self.differs(reach):
                self.holds(reach, f"{pathway.title} where it is free", self.lost)

    def affordable(self, pathway: Pathway) -> Reach:
        """The plan with a pathway given back in each layer where enough stays saved."""
        reach = self.reach
        for layer in range(len(reach)):
            more = restored(reach, pathway, [layer])
            reach = more if self.reached(more) else reach
        return reach

    def settle(self, ranked: list[Candidate]) -> list["_GivenBack"]:
        """Give a pathway back that is not worth what it loses, for others: the local refinement.

        A cut is judged beside those that went before it, and later ones can make it dear.

        Returns:
            What was tried on the plan that stays.
        """
        allowed, kept = self.budget.value, set[Pathway]()
        while True:
            tried, worth = self.given_back(ranked), self.worth(allowed)
            excess = {
                one: worth(one.reach) - self.budget.loss(one.step.score, self.problem.dense)
                for one in tried
                if one.pathway not in kept
            }
            dearest = max(excess, key=excess.__getitem__, default=None)
            if dearest is None or excess[dearest] <= DEAR * allowed:
                return tried
            self.reach, self.score = dearest.reach, dearest.step.score
            self.steps[self.steps.index(dearest.step)] = replace(dearest.step, accepted=True)
            kept.add(dearest.pathway)
            others = [candidate for candidate in ranked if candidate.pathway not in kept]
            self.remove(self.by_harm_per_cost(others), allowed)

    def given_back(self, ranked: list[Candidate]) -> list["_GivenBack"]:
        """Run the plan with each of its removed pathways given back."""
        tried = []
        for pathway in _pathways(ranked):
            if removed_layers(self.reach, pathway, self.histogram):
                reach = restored(self.reach, pathway)
                score = self.problem.measure(reach, lambda score: False)
                step = self.note(f"{pathway.title} given back", reach, score, False)
                tried.append(_GivenBack(pathway, reach, step))
        return tried

    def harms(self, tried: list["_GivenBack"]) -> tuple[Harm, ...]:
        """What every removed pathway would win back, the worst first."""
        found, now = [], self.cost(self.reach)
        for one in tried:
            score = one.step.score
            won = score.accuracy - self.score.accuracy, score.expected - self.score.expected
            saved = (one.step.cost.flops - now.flops) / self.dense_cost.flops
            layers = removed_layers(self.reach, one.pathway, self.histogram)
            found.append(Harm(one.pathway.title, tuple(layers), won, saved))
        return tuple(sorted(found, key=lambda harm: -max(harm.points)))


@dataclass(frozen=True, eq=False)
class _GivenBack:
    """The plan with one pathway in every layer again."""

    pathway: Pathway
    reach: Reach
    step: Step


def _pathways(ranked: list[Candidate]) -> list[Pathway]:
    """Those of candidates, by name."""
    return sorted({candidate.pathway for candidate in ranked}, key=lambda pathway: pathway.name)
