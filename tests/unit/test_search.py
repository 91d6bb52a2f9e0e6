"""The search keeps its budget, in a fixed order, whatever the trace said."""

from dataclasses import replace

import pytest

from prune.errors import BadInputError, UsageError
from prune.layout.pathways import PATHWAYS, VIDEO
from prune.layout.segments import Role
from prune.plan.budget import Budget, Score
from prune.plan.cost import cost_of, dense_cost
from prune.plan.draft import Problem
from prune.plan.liveness import State, leaks, states
from prune.plan.moves import candidates
from prune.plan.search import search
from tests.unit.searched import DENSE, GEOMETRY, LAYERS, MODEL, NEEDED, PROMPT, Model, harms, run


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [Budget("max_drop", 1.0), Budget("max_kl", 0.1)], ids=str)
def test_the_budget_holds_even_when_the_trace_is_noise(seed: int, budget: Budget) -> None:
    found = run(budget, seed)
    assert Model().measure(found.plan.reach, lambda score: False).accuracy == 90.0
    assert found.cost.edges < 0.35 * found.dense_cost.edges, "most edges are not needed"
    # The question reads the video in layer 3 and the answer reads the question in layer 5.
    state = states(found.plan.reach)
    assert (state[3:, list(VIDEO)] == State.DEAD).all()
    assert (state[5:, Role.QUESTION] == State.DEAD).all()
    assert not leaks(found.plan.reach, after=3)


def test_the_plan_is_far_cheaper_than_what_one_edge_at_a_time_would_save() -> None:
    found = run(Budget("max_drop", 1.0))
    assert found.dense_cost.flops / found.cost.flops > 1.8
    assert found.forwards < 0.1 * found.exhaustive


def test_a_budget_is_kept_with_a_standard_error_to_spare() -> None:
    fell = Score(90.0, 79.5, 0.0, 100, spread=4.0)
    assert fell.lost(DENSE) == pytest.approx(0.5 + 0.4)
    assert replace(fell, worst=6.0).lost(DENSE) == pytest.approx(2.0)


def test_same_input_same_plan() -> None:
    budget = Budget("max_drop", 1.0)
    assert run(budget).plan.to_json() == run(budget).plan.to_json()


@pytest.mark.parametrize(
    "budget",
    [Budget("density", 0.9), Budget("density", 0.5), Budget("prefill_speedup", 1.5),
     Budget("kv_bytes", 20_000)],
    ids=str,
)  # fmt: skip
def test_what_can_be_saved_for_nothing_is_saved_first(budget: Budget) -> None:
    found = run(budget)
    assert budget.reached(found.cost, found.dense_cost)
    assert found.score.accuracy == 90.0


def test_a_budget_is_reached_whatever_it_costs_and_not_far_overshot() -> None:
    found = run(Budget("density", 0.03))
    assert 0.02 < found.cost.edges / found.dense_cost.edges <= 0.03
    assert found.score.accuracy < 90.0


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(BadInputError, match="cannot be reached"):
        run(Budget("density", 0.001))
    for given in ({}, {"density": 0.5, "max_drop": 1.0}):
        with pytest.raises(UsageError, match="--prefill-speedup"):
            Budget.of(**given)


def test_interrupted_it_returns_the_best_plan_so_far() -> None:
    whole = run(Budget("max_drop", 1.0))
    part = run(Budget("max_drop", 1.0), model=Model(interrupt_at=8))
    assert part.interrupted and not whole.interrupted
    assert len(part.steps) == 8
    assert whole.cost.flops < part.cost.flops < part.dense_cost.flops
    assert part.score.accuracy == 90.0


@pytest.mark.parametrize(
    ("budget", "runs", "ended"),
    [
        (Budget("max_drop", 1.0), 100, "no candidate is worth more"),
        (Budget("max_drop", 1.0), 3, "all 3 runs used"),
        (Budget("density", 0.6), 100, "budget met"),
    ],
    ids=str,
)
def test_a_search_says_why_it_ended(budget: Budget, runs: int, ended: str) -> None:
    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, Model().measure)
    found = search(problem, candidates(harms(0)), budget, max_runs=runs)
    assert found.ended == ended


def test_harms_say_what_each_removed_pathway_would_win_back() -> None:
    found = run(Budget("density", 0.03))
    harm = {h.pathway: h for h in found.harms}
    lost = [
        title
        for title, layer in ((PATHWAYS[name].title, layer) for name, layer in NEEDED)
        if title in harm and layer in harm[title].layers
    ]
    assert lost, "so few edges cannot hold all three"
    assert all(harm[title].points[0] == 20 for title in lost)
    assert all(h.flops >= 0 for h in found.harms)


def test_costs_are_counted_like_those_of_the_plan() -> None:
    found = run(Budget("max_drop", 1.0))
    assert found.cost == cost_of(found.plan.reach, PROMPT, GEOMETRY)
    assert found.dense_cost == dense_cost(LAYERS, PROMPT, GEOMETRY)
