"""The search keeps its budget, in a fixed order, whatever the trace said."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from prune.errors import BadInputError, UsageError
from prune.layout.freezing import UPDATE, edges_of, freezes, updated
from prune.layout.pathways import (
    ALL,
    LAST,
    NONE,
    OPTIONS,
    OTHER_FRAMES,
    PATHWAYS,
    QUESTION_SEALED,
    REMOVABLE,
    VIDEO,
    Reach,
    dense_reach,
)
from prune.layout.segments import Role, Segments
from prune.plan.budget import Budget, Hopeless, Score
from prune.plan.cost import Geometry, cost_of, dense_cost
from prune.plan.draft import Draft, Problem
from prune.plan.eliminate import PATIENCE, remove
from prune.plan.liveness import State, leaks, states
from prune.plan.model_id import ModelId
from prune.plan.moves import candidates, closed, restored, slides
from prune.plan.search import search
from prune.plan.search_result import SearchResult

LAYERS = 6
MODEL = ModelId(name="m", num_layers=LAYERS, num_kv_heads=1)
GEOMETRY = Geometry(64, 128, 4, 2, 16, 2)
PROMPT = Segments.of_runs(
    [(Role.SYSTEM, -1, 4), *((Role.VIDEO, f, 9) for f in range(8)), (Role.BRIDGE, -1, 2),
     (Role.QUESTION, -1, 8), (Role.OPTIONS, -1, 12), (Role.TAIL, -1, 6), (Role.LAST, -1, 1)]
)  # fmt: skip
NEEDED = (("cross_frame", 1), ("video_to_question_sealed", 2), ("question_to_last_sealed", 4))
DENSE = Score(90.0, 80.0, 0.0, 100)


@dataclass
class Model:
    """One that answers right only while its three edges are there; each is worth 20 points."""

    runs: list[float] = field(default_factory=list)
    interrupt_at: int = 1000

    def measure(self, reach: Reach, hopeless: Hopeless) -> Score:
        if len(self.runs) == self.interrupt_at:
            raise KeyboardInterrupt
        lost = 0
        for name, layer in NEEDED:
            pathway = PATHWAYS[name]
            block = edges_of(reach)[layer, 0][np.ix_(pathway.queries, pathway.keys)]
            lost += bool((block <= pathway.limit).any())
        self.runs.append(lost)
        return Score(90.0 - 20 * lost, 80.0 - 20 * lost, 0.3 * lost, 100)


def harms(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {pathway.name: rng.uniform(0, 1, LAYERS) for pathway in REMOVABLE}


def run(budget: Budget, seed: int = 0, model: Model | None = None) -> SearchResult:
    problem = Problem(MODEL, PROMPT, GEOMETRY, DENSE, (model or Model()).measure)
    return search(problem, candidates(harms(seed)), budget, max_runs=100)


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


def test_costs_are_counted_like_those_of_the_plan() -> None:
    found = run(Budget("max_drop", 1.0))
    assert found.cost == cost_of(found.plan.reach, PROMPT, GEOMETRY)
    assert found.dense_cost == dense_cost(LAYERS, PROMPT, GEOMETRY)


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
