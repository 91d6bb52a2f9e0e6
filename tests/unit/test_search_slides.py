"""A search removes structures over many layers: slides, which end or freeze states."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from prune.layout.freezing import UPDATE, edges_of, freezes, updated
from prune.layout.pathways import LAST, OPTIONS, PATHWAYS, QUESTION_SEALED, VIDEO
from prune.layout.reach import ALL, NONE, Reach, dense_reach
from prune.layout.segments import Role
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.cost import cost_of
from prune.plan.draft import Problem
from prune.plan.liveness import State, states
from prune.plan.moves import candidates, closed, slides
from prune.plan.search import search
from tests.unit.searched import DENSE, GEOMETRY, LAYERS, MODEL, PROMPT, run


def test_slides_remove_more_at_every_setting_and_name_it() -> None:
    for slide in slides(LAYERS, 8):
        table, before = dense_reach(LAYERS), None
        for setting in range(1, slide.settings + 1):
            reach = slide.at(table, setting)
            assert before is None or ((reach <= before).all() and (reach < before).any())
            before = reach
    video = slides(LAYERS, 8)[0]
    assert video.title(2) == "video dead from layer 5 on"
    reach = video.at(dense_reach(LAYERS), 2)
    assert (states(reach)[4:, Role.VIDEO] == State.DEAD).all()
    assert states(reach)[3, Role.VIDEO] == State.KV_ONLY


def test_what_a_saving_does_not_need_is_given_back() -> None:
    """question -> last in layer 2 carries nothing until the video has to be dead from layer 3."""
    to_last = PATHWAYS["question_to_last_sealed"]

    def gone(layer: np.ndarray, queries: Sequence[Role], keys: Sequence[Role]) -> bool:
        return bool((layer[0][np.ix_(queries, keys)] == NONE).all())

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        text = (*to_last.queries, *QUESTION_SEALED, *OPTIONS)
        dead = all(gone(layer, text, VIDEO) for layer in reach[2:])
        answers = not gone(reach[-1], LAST, QUESTION_SEALED) and not gone(reach[-1], LAST, OPTIONS)
        carried = not gone(reach[1], LAST, QUESTION_SEALED)
        lost = 10.0 * dead + 5.0 * (dead and not carried) + 70.0 * (not answers or freezes(reach))
        return Score(90.0, 80.0 - lost, lost, 100)

    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, measure)
    ranked = candidates({to_last.name: np.ones(LAYERS)})
    found = search(problem, ranked, Budget("prefill_speedup", 2.4), max_runs=100)
    assert found.budget.reached(found.cost, found.dense_cost)
    accepted = [step for step in found.steps if step.accepted]
    assert [step.score.expected for step in accepted][-2:] == [65.0, 70.0]
    assert accepted[-1].what == "question → last sealed where it is free"
    assert found.score == measure(found.plan.reach, lambda score: False)


def test_edges_into_states_that_no_answer_needs_are_closed_and_no_others() -> None:
    reach = slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 3)
    shut = closed(reach)
    assert (shut[3:, :, VIDEO] == NONE).all() and (reach[3:, :, VIDEO, Role.SYSTEM] == ALL).all()
    for mode in ("single_turn", "multi_turn"):
        alive = states(reach, mode) == State.COMPUTE
        assert (states(shut, mode) == states(reach, mode))[alive].all()
        assert (shut.transpose(0, 2, 1, 3)[alive] == reach.transpose(0, 2, 1, 3)[alive]).all()
    found = run(Budget("max_drop", 1.0))
    assert (closed(found.plan.reach) == found.plan.reach).all()


def test_states_whose_updates_carry_nothing_more_are_frozen() -> None:
    """Video that all text reads in every layer, and that is not worth updating from layer 4 on."""
    text = (*QUESTION_SEALED, *OPTIONS, *LAST)

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        read = edges_of(reach)[:, 0][:, text][:, :, VIDEO]
        moving = updated(reach)[:, [*VIDEO, *text]]
        lost = 5.0 * (read != ALL).any() + 5.0 * (not moving[:3].all())
        lost += 5.0 * (not moving[:, len(VIDEO) :].all())
        return Score(90.0, 80.0 - lost, lost, 100)

    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, measure)
    thawed = search(problem, [], Budget("max_drop", 1.0), max_runs=100)
    assert not thawed.plan.freezes
    found = search(replace(problem, freezing=True), [], Budget("max_drop", 1.0), max_runs=100)
    assert (updated(found.plan.reach)[:, Role.VIDEO] == (np.arange(LAYERS) < 3)).all()
    assert "video frozen from layer 4 on" in [s.what for s in found.steps if s.accepted]
    moving = cost_of(found.plan.reach[..., :UPDATE, :UPDATE], PROMPT, GEOMETRY)
    assert found.cost.flops < 0.7 * moving.flops
    assert found.plan.freezes and '"frozen": [' in found.plan.to_json()


def test_frozen_states_that_are_dead_are_not_named() -> None:
    reach = slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 2)
    (frozen,) = (s for s in slides(LAYERS, 8, True) if s.title(1) == "video frozen from layer 6 on")
    reach = frozen.at(reach, 4)
    assert (~updated(closed(reach))[:, Role.VIDEO]).nonzero()[0].tolist() == [2, 3]
    assert closed(frozen.at(slides(LAYERS, 8)[0].at(dense_reach(LAYERS), 2), 2)).shape[-1] == 11
