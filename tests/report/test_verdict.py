"""The verdict is never surer than the interval, and never kinder than the numbers."""

from dataclasses import replace

import pytest

from prune.plan.budget import Budget
from prune.report.numbers import plus, slowdown, speedups, spoken
from prune.report.verdict import verdict
from prune.results.audit_findings import Finding
from prune.results.export_result import Result
from prune.results.interval import Interval, paired_bounds
from prune.results.latency import LatencyRow


def _with(result: Result, change: Interval, limit: float | None) -> Result:
    assert result.accuracy is not None and result.search is not None
    overall = replace(result.accuracy.overall, difference=change)
    budget = Budget("density", 0.5) if limit is None else Budget("max_drop", limit)
    return replace(
        result,
        accuracy=replace(result.accuracy, overall=overall),
        search=replace(result.search, budget=budget),
        audit=None,
    )


@pytest.mark.parametrize(
    ("change", "limit", "tone", "headline"),
    [
        (Interval(-0.5, -0.9, 0.2), 1.0, "good", "Yes"),
        (Interval(-0.5, -1.5, 0.5), 1.0, "open", "Perhaps"),
        (Interval(-1.5, -3.0, 0.1), 1.0, "open", "Probably not"),
        (Interval(-3.0, -4.0, -1.1), 1.0, "bad", "No"),
        (Interval(-3.0, -4.0, -1.1), None, "open", "Only if 4.0 points may be lost"),
        (Interval(0.0, -2.0, 2.0), None, "open", "Only if 2.0 points may be lost"),
        (Interval(2.0, 1.0, 3.0), None, "good", "Yes"),
    ],
)
def test_the_whole_interval_decides(
    result: Result, change: Interval, limit: float | None, tone: str, headline: str
) -> None:
    found = verdict(_with(result, change, limit))
    assert (found.tone, found.headline) == (tone, headline)


def test_it_says_how_many_questions_would_tell(result: Result) -> None:
    assert result.accuracy is not None
    overall, flips = result.accuracy.overall, len(result.accuracy.flipped)
    found = verdict(_with(result, overall.difference, 2.0))
    said = f"200 questions about 100 videos cannot rule out {-overall.difference.low:.1f} points"
    assert f"{said}; some 1,100 about 530 videos would decide" in found.because
    # A video of its own for each question goes without saying.
    low, high = (100 * end for end in paired_bounds(200, -flips / 200, flips / 200))
    alone = replace(overall, videos=200, difference=Interval(-100 * flips / 200, low, high))
    accuracy = replace(result.accuracy, overall=alone)
    found = verdict(_with(replace(result, accuracy=accuracy), alone.difference, 2.0))
    assert f"200 questions cannot rule out {-low:.1f} points; about 530 would" in found.because
    enough = next(n for n in range(200, 2000) if paired_bounds(n, -0.01, 0.01)[0] >= -0.02)
    assert 520 < enough <= 530


def test_the_first_screen_says_what_was_counted(result: Result) -> None:
    assert result.accuracy is not None
    named = replace(result, accuracy=replace(result.accuracy, by_path=3))
    for one, told in (
        (result, "200 questions about 100 videos unseen by trace and search."),
        (named, "100 videos unseen by trace and search, 3 of them distinguished by path alone."),
    ):
        points = {p.about: p for p in verdict(one).points}
        assert told in points["Accuracy"].text


def test_a_rival_that_is_better_for_the_same_cost_decides(result: Result) -> None:
    good = _with(result, Interval(-0.5, -0.9, 0.2), 1.0)
    better = replace(good.baselines[1], difference=Interval(-3.0, -5.0, -1.0))
    found = verdict(replace(good, baselines=(good.baselines[0], better)))
    assert found.tone == "bad" and "VTW answers better at the same cost" in found.because
    dear = replace(better, flops=0.9)
    assert verdict(replace(good, baselines=(dear,))).tone == "good"


def test_what_saves_nothing_is_not_shipped(result: Result) -> None:
    same = replace(result.cost[0], name="plan")
    assert verdict(replace(result, cost=(result.cost[0], same))).because == "It saves nothing."


def test_slower_is_not_a_plain_yes(result: Result) -> None:
    good = _with(result, Interval(-0.5, -0.9, 0.2), 1.0)
    rows = tuple(
        LatencyRow("time to first token", name, at, at, at, 20)
        for name, at in (("dense", 20.0), ("pruned", 30.0))
    )
    found = verdict(replace(good, latency=rows))
    assert found.headline == "It depends" and "takes 1.50x as long" in found.because


def test_a_gain_within_the_noise_is_none(result: Result) -> None:
    rows = (
        LatencyRow("LLM prefill", "dense", 20.0, 17.0, 25.0, 20),
        LatencyRow("LLM prefill", "pruned", 18.0, 15.0, 21.0, 20),
    )
    noisy = replace(result, latency=rows, benched=())
    assert speedups(noisy.latency)["LLM prefill"].told == "noisy" and not slowdown(noisy)
    assert any("1.11x (noisy)." in p.text and p.tone == "open" for p in verdict(noisy).points)


def test_a_loss_within_the_noise_turns_no_verdict(result: Result) -> None:
    good = _with(result, Interval(-0.5, -0.9, 0.2), 1.0)
    # The ranges of an overloaded machine, which overlap forty times over.
    rows = (
        LatencyRow("LLM prefill", "dense", 46.73, 30.56, 2187.10, 20),
        LatencyRow("LLM prefill", "pruned", 68.95, 54.73, 2562.24, 20),
    )
    noisy = replace(good, latency=rows, benched=(), audit=None)
    assert speedups(rows)["LLM prefill"].told == "noisy" and not slowdown(noisy)
    found = verdict(noisy)
    (measured,) = [p for p in found.points if p.about == "Measured"]
    assert found.headline == "Yes" and measured.tone == "open" and "bench again" in measured.text


def test_a_broken_audit_is_named(result: Result) -> None:
    found = verdict(result)
    assert result.audit is not None and result.audit.outcome == "broken"
    assert found.tone == "open" and "does not rely on the dense model" in found.because
    assert any(p.about == "Evidence" and "IoU@20%" in p.text for p in found.points)


def test_an_audit_of_too_few_videos_says_so_and_decides_nothing(result: Result) -> None:
    assert result.audit is not None
    few = Finding("IoU@20%", 0.25, None, None, 2, 0.4, "open", 10)
    audit = replace(result.audit, outcome="open", findings=(few,))
    good = replace(_with(result, Interval(-0.5, -0.9, 0.2), 1.0), audit=audit)
    found = verdict(good)
    points = {p.about: p for p in found.points}
    assert points["Evidence"].tone == "open" and "too few videos" in points["Evidence"].text
    assert found.headline == "Yes"


def test_every_doubt_is_a_point(result: Result) -> None:
    points = {p.about: p for p in verdict(result).points}
    assert points["Worst task"].text.startswith("a task")
    assert "by +16.0 [+9.0, +23.0] points at 60% of the FLOPs to its 60%" in points["Chance"].text
    assert points["Best rival"].tone == "open" and "a tie with VTW" in points["Best rival"].text
    assert points["Calibration"].tone == "open"
    assert points["Measured"].tone == "good"
    assert points["Benched"].text.startswith("speed-up at 16 frames: LLM prefill 2.40x")


def test_numbers_carry_a_real_minus() -> None:
    assert plus(-0.04) == plus(0.0) == "0.0" and plus(-1.25, 2) == "\N{MINUS SIGN}1.25"
    assert spoken(Interval(0.5, -1, 2)) == "+0.5 [\N{MINUS SIGN}1.0, +2.0]"
