"""What a search sees: scores of all samples, early stops, fronts and savings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import sem

from prune.checkpoint.load import LoadedModel, open_model
from prune.errors import UsageError
from prune.evaluate.answers import answer, under
from prune.evaluate.calibration import Calibration, calibrate
from prune.inputs.samples import Sample
from prune.layout.pathways import PATHWAYS, REMOVABLE, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.budget import WORST_TASK, Budget, Score
from prune.plan.front import front
from prune.plan.moves import candidates
from prune.plan.outlook import outlook, video_prompt
from prune.plan.plan import Plan
from prune.plan.search import search
from prune.report.figures.front import front_figure
from prune.results.export_result import SearchReport
from tests.helpers import without_options

LAYERS = 12


@pytest.fixture(scope="module")
def calibration(tiny: LoadedModel, samples: list[Sample]) -> Calibration:
    return calibrate(tiny, samples[:12], 8)


def blind() -> np.ndarray:
    reach = dense_reach(LAYERS)
    for name in ("video_to_question_sealed", "video_to_options", "video_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(None))
    return reach


def test_scores_are_those_of_the_answers(tiny: LoadedModel, calibration: Calibration) -> None:
    score = calibration.measure(blind(), lambda score: False)
    dense, found = (
        answer(tiny.model, tiny.processor, calibration.batches, under(reach))
        for reach in (dense_reach(LAYERS), blind())
    )
    assert score.accuracy == pytest.approx(100 * np.mean([a.correct for a in found]))
    assert score.expected == pytest.approx(100 * np.mean([a.p_true for a in found]))
    lost = {
        task: [d.p_true - f.p_true for d, f in zip(dense, found, strict=True) if d.task == task]
        for task in {d.task for d in dense}
    }
    every = np.concatenate(list(lost.values()))
    assert score.worst == pytest.approx(100 * max(map(np.mean, lost.values())))
    assert score.spread == pytest.approx(100 * np.std(every))
    mean = 100 * (np.mean(every) + sem(every, ddof=0))
    assert score.lost(calibration.score) == pytest.approx(max(mean, score.worst / WORST_TASK))
    kl = [
        sum(p * np.log(p / q) for p, q in zip(d.p_options, f.p_options, strict=True) if p > 0)
        for d, f in zip(dense, found, strict=True)
    ]
    assert score.kl == pytest.approx(np.mean(kl), rel=1e-3)
    assert score.samples == 12
    assert calibration.score.kl == 0 and calibration.score.spread == 0


def test_questions_about_one_video_count_as_one(tiny: LoadedModel, samples: list[Sample]) -> None:
    again = [replace(s, id=f"{s.id} again") for s in samples[:6]]
    shared, alone = calibrate(tiny, [*samples[:6], *again], 8), calibrate(tiny, samples[:6], 8)
    twice, once = (each.measure(blind(), lambda score: False) for each in (shared, alone))
    assert (twice.samples, twice.videos, once.videos) == (12, 6, 6)
    # Two copies of each answer hold no more than one: the error is that of six, with 5 of 6 degrees
    # of freedom rather than 11 of 12.
    error, single = twice.spread / 12**0.5, once.spread / 6**0.5
    assert error == pytest.approx(single * (6 / 5 * 11 / 12) ** 0.5)
    found = search(shared.problem(), candidates({}), Budget("max_drop", 1e-3), max_runs=1)
    needed = Budget("max_drop", 1e-3).samples_needed(twice)
    warned = replace(found, score=twice).warning
    assert warned is not None and warned.startswith("12 calibration samples about 6 videos cannot")
    assert needed is not None and f"some {needed} about {-(-needed // 2)} videos would" in warned


def test_one_video_is_never_enough(tiny: LoadedModel, samples: list[Sample]) -> None:
    several = calibrate(tiny, [replace(samples[0], id=str(i)) for i in range(3)], 8)
    found = search(several.problem(), candidates({}), Budget("max_drop", 50), max_runs=1)
    assert found.warning is not None and "about one video" in found.warning
    score = several.measure(blind(), lambda score: False)
    lost = several.score.expected - score.expected
    assert score.lost(several.score) == pytest.approx(max(2 * lost, 0.0), abs=1e-3)


def test_a_hopeless_plan_is_given_up_and_the_rest_counts_as_unchanged(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune.evaluate.calibration.BATCH", 4)
    several = calibrate(tiny, samples[:12], 8)
    assert [len(batch.samples) for batch in several.batches] == [4, 4, 4]
    budget = Budget("max_kl", 0.01)
    part = several.measure(blind(), budget.hopeless(0.01, several.score))
    whole = several.measure(blind(), lambda score: False)
    assert part.samples == 4 < whole.samples == 12
    assert 0.01 < part.kl < whole.kl
    # The order in which batches are run changes with every run, the score does not.
    assert several.measure(blind(), lambda score: False) == whole


def test_every_second_batch_ranks_plans(
    tiny: LoadedModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune.evaluate.calibration.BATCH", 2)
    several = calibrate(tiny, samples[:12], 8)
    assert several.problem().part is None, "too few samples to spare any"
    monkeypatch.setattr("prune.evaluate.calibration.PART", 6)
    part = several.problem().part
    assert part is not None
    same = calibrate(tiny, [s for batch in several.batches[::2] for s in batch.samples], 8)
    never = Budget("max_kl", 9.0).hopeless(9.0, part.dense)
    assert part.dense == same.score and part.dense.samples == 6
    assert part.measure(blind(), never) == same.measure(blind(), never)


def test_another_family_with_shared_kv_heads_is_searched_the_same_way(
    samples: list[Sample],
) -> None:
    opened = open_model("tiny-ov")
    layers, heads = opened.id.num_layers, opened.id.num_kv_heads
    text = opened.model.config.text_config
    assert heads < text.num_attention_heads, "grouped queries"
    problem = calibrate(opened, samples[:6], 8).problem()
    harm = {p.name: np.arange(layers, dtype=float) for p in REMOVABLE}
    found = search(problem, candidates(harm), Budget("max_drop", 40), max_runs=10, heads=heads)
    assert found.plan.reach.shape[:2] == (layers, heads)
    assert found.cost.flops < 0.95 * found.dense_cost.flops
    assert found.dense.expected - found.score.expected <= 40
    found.plan.check_model(opened.id)


def test_budgets_say_how_many_samples_they_need() -> None:
    score = Score(90.0, 90.0, 0.0, 100, spread=5.0)
    assert Budget("max_drop", 1.0).samples_needed(score) == 97
    assert Budget("max_drop", 0.1).samples_needed(score) == 9604
    assert Budget("density", 0.5).samples_needed(score) is None


def test_the_front_holds_what_nothing_beats(calibration: Calibration) -> None:
    harm = {name: np.arange(LAYERS, dtype=float) for name in ("cross_frame", "video_to_last")}
    found = search(calibration.problem(), candidates(harm), Budget("max_drop", 30), max_runs=12)
    points = front(found)
    assert points[-1].what == "dense" and points[-1].flops == 1.0
    for point in points:
        values = (point.edges, point.flops, point.kv_bytes, -point.accuracy, -point.expected)
        beaten = any(
            all(o <= v for o, v in zip(others, values, strict=True)) and others != values
            for others in ((p.edges, p.flops, p.kv_bytes, -p.accuracy, -p.expected) for p in points)
        )
        assert point.best != beaten
    figure = front_figure(SearchReport.of(found))
    assert figure.axes[0].get_xlabel() == "edges (%)"


def test_the_sealed_map_on_long_prompts() -> None:
    found = outlook(Plan.preset("llava-next-7b").reach, video_prompt(64))
    assert found.kv < 0.02 < 0.4 < found.kv_multi_turn < 0.5
    assert 0.55 < found.computed < 0.65
    dense = outlook(dense_reach(4), video_prompt(2))
    assert (dense.edges, dense.kv, dense.kv_multi_turn) == (1.0, 1.0, 1.0)


def test_a_mixed_calibration_scores_answers_and_replies(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    mixed = [*samples[:6], *map(without_options, samples[6:12])]
    found = calibrate(tiny, mixed, 8)
    choice = calibrate(tiny, samples[:6], 8)
    reach = blind()
    both, alone = (each.measure(reach, lambda score: False) for each in (found, choice))
    told = found.told.follow(under(reach))
    kept = [one.agreement for one in told]
    assert min(kept) < 100, "the plan must change a reply"
    (answers,) = choice.dense
    now = answer(tiny.model, tiny.processor, choice.batches, under(reach))
    kept += [100.0 * (a.choice == b.choice) for a, b in zip(now, answers, strict=True)]
    assert both.agreement == pytest.approx(np.mean(kept), abs=1e-4)
    lost = [one.lost for one in told]
    lost += [100 * max(a.choice != b.choice, b.p_options[b.choice] - a.p_options[b.choice])
             for a, b in zip(now, answers, strict=True)]  # fmt: skip
    assert both.disagreement == pytest.approx(np.mean(lost), abs=1e-2)
    assert both.agreement_spread == pytest.approx(np.std(lost), rel=1e-3)
    assert both.disagreed(found.score) > 100 - both.agreement
    assert both.open == 6 and alone.open == 0
    assert both.expected == pytest.approx(alone.expected, abs=1e-3)
    assert both.accuracy == alone.accuracy
    kl = (6 * alone.kl + sum(one.mean_kl for one in told)) / 12
    assert both.kl == pytest.approx(kl, rel=1e-3)
    # The error of the six answers, as that of twelve.
    assert both.spread / 12**0.5 == pytest.approx(alone.spread / 6**0.5, rel=1e-3)
    assert found.score.agreement == 100 and found.score.kl == 0


def test_hallucination_is_scored_on_the_questions_about_what_exists(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    asked = [s for s in samples if set(s.options) == {"yes", "no"}]
    others = [s for s in samples if s not in asked][:4]
    prepared = calibrate(tiny, [*asked, *others], 8)
    problem = prepared.mending_problem()
    assert problem.part is not None
    for dense in (problem.dense, problem.part.dense):
        truth = [s.options[s.answer] for s in asked]
        assert (dense.absent, dense.present) == (truth.count("no"), truth.count("yes"))
    found = answer(tiny.model, tiny.processor, prepared.batches, under(blind()))
    chance = {a.id: a.p_true for a in found}
    score = problem.part.measure(blind(), lambda score: False)
    for name, mean in (("no", score.false_yes), ("yes", score.false_no)):
        false = [1 - chance[s.id] for s in asked if s.options[s.answer] == name]
        assert mean == pytest.approx(100 * np.mean(false))


def test_hallucination_needs_questions_about_absent_things(
    tiny: LoadedModel, samples: list[Sample]
) -> None:
    others = [s for s in samples if set(s.options) != {"yes", "no"}][:4]
    with pytest.raises(UsageError, match="questions about absent things"):
        calibrate(tiny, others, 8).mending_problem()
