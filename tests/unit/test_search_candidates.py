"""A search removes pathways from single layers and KV heads, and gives some back."""

from dataclasses import replace

import numpy as np
import pytest

from prune.layout.freezing import freezes
from prune.layout.pathways import PATHWAYS, REMOVABLE, VIDEO
from prune.layout.reach import ALL, OTHER_FRAMES, Reach, dense_reach
from prune.layout.segments import Role
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.draft import Draft, Problem
from prune.plan.eliminate import PATIENCE, remove
from prune.plan.moves import candidates, restored
from prune.plan.search import search
from tests.unit.searched import DENSE, GEOMETRY, LAYERS, MODEL, PROMPT, Model, harms


@pytest.mark.parametrize(
    ("worth", "removed"), [(0.001, [(1, 3, 4)] * 3), (0.2, [])], ids=["cheap", "dear"]
)
def test_candidates_go_by_what_they_lose_beside_the_others_and_only_if_that_is_worth_it(
    worth: float, removed: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut in layer 3 loses eight times one in layers 2, 4 and 5; the trace says the reverse.

    The first and the last layer are needed, so that no structure goes.
    """
    monkeypatch.setattr("prune.plan.draft.WORTH", worth)
    names = ["options_to_last", "question_to_last_sealed", "video_to_last"]
    weights = np.array([5, 0.1, 0.8, 0.1, 0.1, 5])

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        lost = 0.0
        for name in names:
            pathway = PATHWAYS[name]
            for layer, weight in zip(reach[:, 0], weights, strict=True):
                block = layer[np.ix_(pathway.queries, pathway.keys)]
                lost += weight * (block < ALL).any()
        return Score(90.0, 80.0 - lost, lost, 100)

    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, measure)
    ranked = candidates({name: -weights for name in names})
    found = search(problem, ranked, Budget("max_drop", 0.95, "edges"), max_runs=100)
    assert [harm.layers for harm in found.harms] == removed
    assert found.dense.expected - found.score.expected == pytest.approx(0.3 * len(removed))


@pytest.mark.parametrize("sees", [0.0, 1.0], ids=["nothing", "what all see"])
def test_a_part_of_the_samples_ranks_plans_and_all_decide(sees: float) -> None:
    """Whatever the part says, the budget holds on all samples; and it is cheaper to ask."""
    part = replace(DENSE, samples=25)

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        lost = 80.0 - Model().measure(reach, hopeless).expected
        return replace(part, expected=80.0 - sees * lost)

    whole = Problem(MODEL, PROMPT, GEOMETRY, DENSE, Model().measure)
    ranked, budget = candidates(harms(0)), Budget("max_drop", 1.0)
    alone = search(whole, ranked, budget, max_runs=100)
    problem = replace(whole, part=replace(whole, dense=part, measure=measure))
    found = search(problem, ranked, budget, max_runs=100)
    assert found.score == Model().measure(found.plan.reach, lambda score: False)
    assert found.score.accuracy == 90.0
    if sees:
        assert found.forwards < 0.7 * alone.forwards
        assert found.cost.edges == alone.cost.edges
        assert {h.pathway: h.points for h in found.harms} == {
            h.pathway: (0.0, h.points[1]) for h in alone.harms
        }
    assert all(harm.samples == 25 for harm in found.harms)


def test_what_the_part_would_restore_is_measured_on_all_first() -> None:
    """The part claims that every restored pathway wins back 5 points; nothing does."""
    part = replace(DENSE, samples=25)

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        kept = float((reach == ALL).mean())
        return replace(part, expected=75.0 + 5.0 * kept)

    whole = Problem(MODEL, PROMPT, GEOMETRY, DENSE, Model().measure)
    problem = replace(whole, part=replace(whole, dense=part, measure=measure))
    found = search(problem, candidates(harms(0)), Budget("max_drop", 1.0), max_runs=100)
    again = [step for step in found.steps if step.what.endswith("restored")]
    assert any(step.score.samples == 100 for step in again), "one was asked about on all samples"
    assert not any(step.accepted for step in again)


def test_after_some_rejections_in_a_row_the_rest_is_not_tried() -> None:
    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        return replace(DENSE, expected=70.0)

    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, measure)
    ranked = candidates({pathway.name: np.ones(LAYERS) for pathway in REMOVABLE})
    draft = Draft(problem, Budget("max_drop", 1.0), 1000, lambda step: None)
    remove(draft, ranked, 1.0)
    single = [step for step in draft.steps if " more" not in step.what]
    assert len(single) == PATIENCE < len(ranked)
    assert (draft.reach == dense_reach(LAYERS)).all()


@pytest.mark.parametrize("dear", [0.25, 9.0], ids=["restored", "kept out"])
def test_at_the_end_a_pathway_that_others_made_dear_is_given_back_for_another(
    dear: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In layer 2 question -> last costs nothing alone, and 0.5 points without video -> last.

    Beside both there is no room for video -> options, which costs 0.6 and saves far more.
    """
    monkeypatch.setattr("prune.plan.draft.WORTH", 0.002)
    monkeypatch.setattr("prune.plan.refine.DEAR", dear)
    names = ["question_to_last_sealed", "video_to_last", "video_to_options"]

    def gone(name: str, layer: np.ndarray) -> bool:
        pathway = PATHWAYS[name]
        return bool((layer[np.ix_(pathway.queries, pathway.keys)] < ALL).any())

    def measure(reach: Reach, hopeless: Hopeless) -> Score:
        # Needed in the first and the last layer that can use it, so that no structure of it goes.
        needed = {name: (0, -1) for name in (*names, "options_to_last")}
        needed["video_to_options"] = (0, -2)
        ends = sum(gone(name, reach[at, 0]) for name, layers in needed.items() for at in layers)
        question, video, options = (gone(name, reach[1, 0]) for name in names)
        # Nor do states freeze, or frames leave out themselves.
        ends += freezes(reach) + (reach == OTHER_FRAMES).any()
        lost = 5.0 * ends + 0.5 * (question and video) + 0.6 * options
        return Score(90.0, 80.0 - lost, lost, 100)

    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, measure)
    ranked = [c for c in candidates({name: np.ones(LAYERS) for name in names}) if c.layer == 1]
    found = search(problem, ranked, Budget("max_drop", 1.0, "edges"), max_runs=100)
    removed = {name for name in names if gone(name, found.plan.reach[1, 0])}
    if dear < 1:
        assert removed == {"video_to_last", "video_to_options"}
        assert [s.what for s in found.steps if s.accepted][-2:] == [
            "question → last sealed restored",
            "video → options in layer 2",
        ]
    else:
        assert removed == {"question_to_last_sealed", "video_to_last"}
    assert found.score == measure(found.plan.reach, lambda score: False)
    assert {h.pathway for h in found.harms} >= {PATHWAYS[name].title for name in removed}
    assert any(h.pathway == "question → last sealed" for h in found.harms) == (dear > 1)


@pytest.mark.parametrize("name", ["cross_frame", "video_to_options", "question_to_last_sealed"])
def test_a_pathway_given_back_is_all_there_and_nothing_else(name: str) -> None:
    pathway = PATHWAYS[name]
    dense, reach = dense_reach(LAYERS), dense_reach(LAYERS)
    for candidate in candidates({name: np.ones(LAYERS)}):
        candidate.cut(reach)
    assert (restored(reach, pathway) == dense).all()
    for other in REMOVABLE:
        if not set(other.queries) & set(pathway.queries):
            cut = dense_reach(LAYERS)
            for candidate in candidates({other.name: np.ones(LAYERS)}):
                candidate.cut(cut)
            assert (restored(cut, pathway) == cut).all()


def test_a_pathway_within_frames_is_given_back_and_nothing_else() -> None:
    dense, reach = dense_reach(LAYERS), dense_reach(LAYERS)
    for candidate in candidates({"intra_frame": np.ones(LAYERS)}):
        candidate.cut(reach)
    assert (reach[0, 0, Role.VIDEO, Role.VIDEO]) == OTHER_FRAMES
    assert (restored(reach, PATHWAYS["intra_frame"]) == dense).all()
    # Where edges between frames are missing as well, giving back one of the two is not enough.
    for candidate in candidates({"cross_frame": np.ones(LAYERS)}):
        candidate.cut(reach)
    for name in ("intra_frame", "cross_frame"):
        assert (restored(reach, PATHWAYS[name]) == reach).all()


def test_candidates_of_single_heads_leave_the_others() -> None:
    found = replace(candidates({"video_to_last": np.ones(2)})[0], head=1)
    reach = dense_reach(2, 4)
    found.cut(reach)
    assert found.name == "video → last in layer 1, KV head 1"
    assert (reach[0, 1, Role.LAST, list(VIDEO)] == -1).all()
    reach[0, 1] = reach[0, 0]
    assert (reach == dense_reach(2, 4)).all()


def test_single_heads_go_where_a_layer_has_to_stay() -> None:
    """A model that reads its three edges with KV head 0 alone."""
    problem = Problem(
        MODEL, PROMPT, GEOMETRY, DENSE, lambda reach, hopeless: Model().measure(reach, hopeless)
    )
    ranked, budget = candidates(harms(0)), Budget("max_drop", 1.0)
    whole = search(problem, ranked, budget, max_runs=200)
    split = search(problem, ranked, budget, max_runs=200, heads=2)
    assert split.plan.reach.shape[1] == 2
    assert split.cost.edges < 0.7 * whole.cost.edges
    assert split.cost.live_tokens == whole.cost.live_tokens
    assert split.score.accuracy == 90.0
