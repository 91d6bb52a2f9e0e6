"""The search for less hallucination cuts what lowers the wrong yes, and nothing that costs more."""

from collections.abc import Sequence

import numpy as np
import pytest

from prune.errors import UsageError
from prune.layout.pathways import PATHWAYS
from prune.layout.reach import Reach
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.draft import Problem
from prune.plan.mend import gain
from prune.plan.moves import candidates
from prune.plan.search import search
from tests.unit.searched import GEOMETRY, LAYERS, MODEL, PROMPT

HEADS = 2
DENSE = Score(90.0, 80.0, 0.0, 100, absent=20, present=20, false_yes=30.0, false_no=10.0)
ALL_HEADS = tuple(range(HEADS))
CUTS = {
    # What each cut does to wrong yes, wrong no and expected accuracy, by pathway and layer.
    ("video_to_last", 3): (-8.0, 0.0, 0.0, ALL_HEADS),
    ("cross_frame", 2): (-9.0, 6.0, 0.0, ALL_HEADS),  # says no to everything
    ("video_to_question_sealed", 1): (-9.0, 0.0, -20.0, ALL_HEADS),  # is needed
    ("question_to_last_sealed", 4): (+9.0, 0.0, 0.0, (0,)),  # one head helps, the other does harm
    ("options_to_last", 5): (-0.1, 0.0, 0.0, ALL_HEADS),  # may be chance
}


def is_cut(reach: Reach, name: str, layer: int, head: int) -> bool:
    pathway = PATHWAYS[name]
    table = reach[layer, min(head, reach.shape[1] - 1)]
    return bool((table[np.ix_(pathway.queries, pathway.keys)] <= pathway.limit).all())


def measure(reach: Reach, hopeless: Hopeless) -> Score:
    yes, no, expected = 30.0, 10.0, 80.0
    for (name, layer), (more_yes, more_no, change, heads) in CUTS.items():
        if all(is_cut(reach, name, layer, head) for head in heads):
            yes, no, expected = yes + more_yes, no + more_no, expected + change
    if is_cut(reach, "question_to_last_sealed", 4, 1):
        yes -= 6
    return Score(90.0, expected, 0.0, 100, absent=20, present=20, false_yes=yes, false_no=no)


def found_plan(names: Sequence[str]) -> Reach:
    model = MODEL.model_copy(update={"num_kv_heads": HEADS})
    whole = Problem(model, PROMPT, GEOMETRY, DENSE, measure)
    part = Problem(model, PROMPT, GEOMETRY, DENSE, measure)
    problem = Problem(model, PROMPT, GEOMETRY, DENSE, whole.measure, part)
    ranked = candidates({name: np.zeros(LAYERS) for name in names})
    budget = Budget("max_drop", 0.5, "hallucination")
    found = search(problem, ranked, budget, max_runs=1000)
    assert found.plan.origin["objective"] == "hallucination"
    assert found.score.false_yes < DENSE.false_yes
    return found.plan.reach


def test_it_cuts_what_lowers_the_wrong_yes_and_leaves_what_is_needed() -> None:
    reach = found_plan([name for name, _ in CUTS])
    assert all(is_cut(reach, "video_to_last", 3, head) for head in range(HEADS))
    for name, layer in (("cross_frame", 2), ("video_to_question_sealed", 1)):
        assert not any(is_cut(reach, name, layer, head) for head in range(HEADS))
    assert not is_cut(reach, "options_to_last", 5, 0)


def test_it_cuts_one_head_where_the_other_helps() -> None:
    reach = found_plan(["question_to_last_sealed"])
    assert [is_cut(reach, "question_to_last_sealed", 4, head) for head in range(HEADS)] == [
        False,
        True,
    ]


def test_no_in_place_of_yes_is_no_gain() -> None:
    better = Score(90.0, 80.0, 0.0, 100, false_yes=20.0, false_no=10.5)
    assert gain(better, DENSE, DENSE, allowed=0.5) == 10.0
    worse = Score(90.0, 80.0, 0.0, 100, false_yes=20.0, false_no=10.6)
    assert gain(worse, DENSE, DENSE, allowed=0.5) == -np.inf


def test_a_required_saving_has_another_objective() -> None:
    with pytest.raises(UsageError, match="--objective hallucination saves nothing by itself"):
        Budget("density", 0.5, "hallucination").check(10, 0)
