"""One plan for several numbers of frames: traced, searched and measured at each of them."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.checkpoint.load import LoadedModel
from prune.cli.frames import counts_of
from prune.errors import BadInputError, UsageError
from prune.evaluate.calibration import Calibration, calibrate
from prune.evaluate.frame_counts import FrameCounts, calibrate_at
from prune.inputs.replying import DEFAULT_REPLYING
from prune.inputs.samples import Sample
from prune.journal.progress import silent
from prune.layout.pathways import PATHWAYS, REMOVABLE, remove_pathway
from prune.layout.reach import dense_reach
from prune.plan.budget import Budget, Score
from prune.plan.moves import candidates
from prune.plan.plan import Plan
from prune.plan.search import search
from prune.plan.worst_part import WorstPart
from prune.report.page import html
from prune.results.export_result import RESULT_FILE, Result, SearchReport
from prune.results.frame_counts import FrameCountsReport, FramesRow, Paired
from prune.results.interval import Interval
from prune.trace.knockout import Knockouts
from prune.trace.trace import Trace, write_trace
from prune.workflows.export import export_model
from prune.workflows.measure_frames import measure_frames
from tests.helpers import without_options

LAYERS = 12
FEW = (PATHWAYS["cross_frame"], PATHWAYS["video_to_question_sealed"])
COUNTS = (2, 8)


def blind() -> np.ndarray:
    reach = dense_reach(LAYERS)
    for name in ("video_to_question_sealed", "video_to_options", "video_to_last"):
        remove_pathway(reach, PATHWAYS[name], slice(4, None))
    return reach


@pytest.fixture(scope="module")
def counted(tiny: LoadedModel, samples: list[Sample]) -> FrameCounts:
    found = calibrate_at(tiny, samples[:8], COUNTS)
    assert isinstance(found, FrameCounts)
    return found


def test_the_loss_is_that_of_the_part_that_loses_most() -> None:
    dense = WorstPart.of([Score(90, 80, 0, 4, videos=4), Score(70, 60, 0, 4, videos=3)])
    few, many = Score(90, 79, 0.2, 4, 2.0, 3.0, 4), Score(60, 50, 0.1, 4, 1.0, 9.0, 3)
    found = WorstPart.of([few, many])
    assert found.lost(dense) == many.lost(dense.parts[1]) > few.lost(dense.parts[0])
    assert (found.accuracy, found.expected, found.kl) == (75, 64.5, 0.2)
    assert (found.samples, found.videos, found.spread, found.worst) == (8, 4, 2.0, 9.0)
    torn = WorstPart.of([replace(few, disagreement=8.0), many])
    assert torn.disagreed(dense) == 8.0 and WorstPart.of([few, many]).disagreed(dense) == 0
    assert (dense.samples, dense.given) == (8, 4)
    assert Budget("max_kl", 0.2).loss(found, dense) == 0.2


def test_every_number_of_frames_is_measured(
    tiny: LoadedModel, samples: list[Sample], counted: FrameCounts
) -> None:
    alone = [calibrate(tiny, samples[:8], count) for count in COUNTS]
    apart = [one.measure(blind(), lambda score: False) for one in alone]
    problem = counted.problem()
    found = problem.measure(blind(), lambda score: False)
    losses = [score.lost(one.score) for score, one in zip(apart, alone, strict=True)]
    assert losses[0] != pytest.approx(losses[1])
    assert found.lost(problem.dense) == pytest.approx(max(losses))
    assert found.samples == problem.dense.samples == counted.score.samples == 16
    assert counted.ranking == [batch for one in counted.each for batch in one.ranking]
    sizes = {batch.replay.segments.shape[1] for batch in counted.batches}
    assert min(sizes) < problem.prompt.shape[1] <= max(sizes)


def test_a_hopeless_plan_is_not_run_at_every_number_of_frames(counted: FrameCounts) -> None:
    problem = counted.problem()
    found = problem.measure(blind(), lambda score: score.samples > 0)
    assert 0 < found.samples < problem.dense.samples
    # What was not run counts as unchanged.
    assert isinstance(found, WorstPart) and isinstance(problem.dense, WorstPart)
    assert replace(found.parts[1], samples=8) == problem.dense.parts[1]


def test_one_number_of_frames_is_as_before(tiny: LoadedModel, samples: list[Sample]) -> None:
    assert isinstance(calibrate_at(tiny, samples[:2], (4,)), Calibration)


def test_a_searched_plan_holds_at_every_number_of_frames(
    counted: FrameCounts, tiny: LoadedModel
) -> None:
    harm = {pathway.name: np.arange(LAYERS, 0, -1.0) for pathway in REMOVABLE}
    budget = Budget.of(max_drop=5)
    found = search(counted.problem(), candidates(harm), budget, max_runs=12)
    assert not found.plan.removes_nothing
    report = SearchReport.of(found)
    assert report.samples == 8 and report.points and report.forwards > 8
    noisy = replace(found, score=replace(found.score, spread=50.0))
    assert noisy.warning is not None and noisy.warning.startswith("8 calibration samples")
    for one in counted.each:
        score = one.measure(found.plan.reach, lambda score: False)
        assert budget.loss(score, one.score) <= budget.allowance


def test_a_trace_has_cases_of_every_number_of_frames(
    tiny: LoadedModel, samples: list[Sample], clips: Path, tmp_path: Path
) -> None:
    data, knockouts = clips / "calibration.jsonl", Knockouts(FEW, LAYERS, 3)

    def trace(name: str, counts: Any) -> Trace:
        return write_trace(tiny, data, tmp_path / name, samples[:3], knockouts, counts, "all")

    both, few, many = trace("both", COUNTS), trace("few", 2), trace("many", [8])
    assert (both.frame_counts, few.frame_counts) == (COUNTS, (2,))
    assert many.header["num_frames"] == 8 and "frames" not in many.traced[0]
    for record, *alone in zip(both.records, few.records, many.records, strict=True):
        assert record["cases"] == [
            {"frames": count, **one["cases"][0]} for count, one in zip(COUNTS, alone, strict=True)
        ]
    assert both.counts()["cases"] == 6 and both.counts()["traced"] == 3
    for pathway in FEW:
        worst = np.maximum(few.harm(pathway.name), many.harm(pathway.name))
        # A window that is harmless at one count clears no layer if it is harmful at another.
        assert (both.harm(pathway.name) >= worst - 1e-9).all()
    assert Trace.load(tmp_path / "both").records == both.records
    header = tmp_path / "both" / "trace" / "header.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "num_frames": []}))
    with pytest.raises(BadInputError, match="damaged"):
        Trace.load(tmp_path / "both")


def paired(difference: float) -> Paired:
    return Paired(8, 8, Interval(90, 80, 95), Interval(90, 80, 95), Interval(difference, -9, 9))


def test_the_worst_row_is_the_one_that_loses_most() -> None:
    def row(frames: int, answers: Paired | None, agreement: float | None) -> FramesRow:
        told = None if agreement is None else Interval(agreement, 0, 100)
        return FramesRow(frames, 100, 0.5, 0.5, 0.5, answers, told)

    report = FrameCountsReport((row(4, paired(-1), None), row(8, paired(-2), None)), ())
    assert report.worst.frames == 8
    report = FrameCountsReport((row(4, paired(3), None), row(8, paired(1), None)), ())
    assert report.worst.frames == 8
    report = FrameCountsReport((row(4, paired(1), 96.0), row(8, paired(-2), 99.0)), ())
    assert report.worst.frames == 4
    report = FrameCountsReport((row(4, None, 99.0), row(8, None, 98.0)), ())
    assert report.worst.frames == 8


def test_rows_are_those_of_the_answers(tiny: LoadedModel, samples: list[Sample]) -> None:
    plan = Plan(blind(), tiny.id, "blind", {})
    mixed = [*samples[:8], without_options(samples[9])]
    report, failed = measure_frames(tiny, plan, mixed, COUNTS, silent, DEFAULT_REPLYING)
    assert not failed and [row.frames for row in report.rows] == list(COUNTS)
    for row, count in zip(report.rows, COUNTS, strict=True):
        one = calibrate(tiny, samples[:8], count)
        assert row.answers is not None and row.answers.n == 8
        score = one.measure(plan.reach, lambda score: False)
        assert row.answers.dense.value == pytest.approx(one.score.accuracy)
        assert row.answers.pruned.value == pytest.approx(score.accuracy)
        assert row.agreement is not None and row.agreement.value <= 100
    few, many = report.rows
    assert few.tokens < many.tokens and many.flops < few.flops < 1
    lengths = report.lengths
    assert sum(row.answers.n for row in lengths) == 16 and len(lengths) > 1
    assert all(a.most < b.least for a, b in pairwise(lengths))


def test_an_export_is_measured_at_every_number_of_frames(
    tiny: LoadedModel, clips: Path, tmp_path: Path
) -> None:
    keep = "cross_frame=1-6; video->question,options=1-6; video->last=none"
    how = {"keep": keep, "test": clips / "test.jsonl", "limit": 2}
    result = export_model("tiny", tmp_path / "pruned", num_frames=COUNTS, **how)
    counts = result.frame_counts
    assert counts is not None and [row.frames for row in counts.rows] == list(COUNTS)
    worst = counts.worst
    assert result.conditions["frames"] == str(worst.frames)
    assert result.conditions["frame counts"] == "2, 8"
    assert result.accuracy is not None and worst.answers is not None
    assert result.accuracy.overall.difference == worst.answers.difference
    assert Result.load(tmp_path / "pruned" / RESULT_FILE).frame_counts == counts
    page = html(result, Plan.load(tmp_path / "pruned" / "prune_plan.json"))
    assert "Other frame counts and lengths" in page and f"{worst.frames} (worst)" in page
    assert "Frame counts" in page


@pytest.mark.parametrize("text", ["", "4,", "0", "4,4", "-1", "4;8", "a"])
def test_frame_counts_that_are_none_are_one_line(text: str, prune_command: Any) -> None:
    with pytest.raises(UsageError, match="--frames"):
        counts_of(text)
    words = ["tiny", "--data", "x.jsonl", "--out", "run", f"--frames={text}"]
    code, _, err = prune_command("trace", *words)
    assert code == 2 and "--frames" in err and len(err.splitlines()) == 1


def test_frame_counts_are_read() -> None:
    assert counts_of(None) is None and counts_of("8") == (8,) and counts_of("16, 4") == (16, 4)
