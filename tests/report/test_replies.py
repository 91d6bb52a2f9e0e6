"""The verdict and the page on replies: the whole interval decides, and data are escaped."""

from dataclasses import replace

import pytest

from prune.plan.budget import Budget
from prune.plan.plan import Plan
from prune.report.figures.front import front_figure
from prune.report.page import card, html
from prune.report.verdict import verdict
from prune.results.export_result import Result
from prune.results.interval import Interval, Mean
from prune.results.replies import (
    Drift,
    RepliesReport,
    ReplyBaseline,
    ReplyExample,
    ReplyRow,
    Similarity,
)
from tests.report.conftest import HOSTILE

KL = Mean(0.02, 0.01, 0.03, 40, 40)
ROW = ReplyRow("all", 40, 40, 21.5, Interval(97.0, 95.5, 98.2), KL, KL, Interval(90, 80, 95))


def replied(result: Result, row: ReplyRow, *limits: tuple[str, float]) -> Result:
    """A result about open questions alone."""
    assert result.search is not None
    report = RepliesReport(
        "own", 64, (row,), row,
        (Drift(16, 9, Interval(98, 96, 99), Interval(60, 40, 80)),),
        (Similarity("pruned", "dense", 40, 80.0, 91.0, None),),
        (ReplyExample("a", "all", HOSTILE, HOSTILE, "left", HOSTILE, 2),),
        (ReplyBaseline("VTW", "x", "layer 3", 0.5, 0.55, (90.0,), Interval(7, 3, 9)),),
    )  # fmt: skip
    budget = Budget.of(**dict(limits)) if limits else Budget("density", 0.5)
    search = replace(result.search, budget=budget, open=result.search.samples)
    return replace(
        result, accuracy=None, asked=(), baselines=(), audit=None, replies=report, search=search
    )


@pytest.mark.parametrize(
    ("limits", "tone", "headline"),
    [
        ((("min_agreement", 95.0),), "good", "Yes"),
        ((("min_agreement", 96.0),), "open", "Perhaps"),
        ((("min_agreement", 98.0),), "open", "Probably not"),
        ((("min_agreement", 99.0),), "bad", "No"),
        ((("max_kl", 0.03),), "good", "Yes"),
        ((("max_kl", 0.025),), "open", "Perhaps"),
        ((("max_kl", 0.005),), "bad", "No"),
        ((("max_kl", 0.025), ("min_agreement", 95.0)), "open", "Perhaps"),
        ((), "open", "Only if 4.5% of reply tokens may change"),
    ],
)
def test_the_whole_interval_decides(
    result: Result, limits: tuple[tuple[str, float], ...], tone: str, headline: str
) -> None:
    found = verdict(replied(result, ROW, *limits))
    assert (found.tone, found.headline) == (tone, headline)


def test_few_videos_decide_no_divergence(result: Result) -> None:
    few = replace(ROW, kl=Mean(0.02, None, None, 5, 5))
    assert verdict(replied(result, few, ("max_kl", 1.0))).headline == "Perhaps"


def test_the_worse_of_answers_and_replies_decides(result: Result) -> None:
    assert result.search is not None
    told = replied(result, ROW, ("max_drop", 50.0), ("min_agreement", 99.0))
    both = verdict(replace(told, accuracy=result.accuracy))
    assert both.headline == "No" and "--max-drop 50" in both.because
    assert "--min-agreement 99" in both.because
    fine = replied(result, ROW, ("max_drop", 50.0), ("min_agreement", 90.0))
    assert verdict(replace(fine, accuracy=result.accuracy)).headline == "Yes"


def test_a_rival_whose_replies_agree_more_wins(result: Result) -> None:
    told = replied(result, ROW, ("min_agreement", 95.0))
    assert told.replies is not None
    better = replace(told.replies.baselines[0], difference=Interval(-4, -6, -1))
    found = verdict(replace(told, replies=replace(told.replies, baselines=(better,))))
    assert found.because == "VTW answers better at the same cost."


def test_the_page_shows_replies_and_escapes_them(result: Result, plan: Plan) -> None:
    told = replied(result, ROW, ("min_agreement", 95.0))
    page, readme = html(told, plan), card(told, plan, {})
    for shown in ("97.0 [95.5, 98.2]", "0.020 [0.010, 0.030]", "16 tokens", "91.0", "layer 3"):
        assert shown in page, shown
    assert HOSTILE not in page and "Accuracy was not measured" not in readme
    assert "97.0% [95.5, 98.2]" in readme
    assert told.search is not None
    assert front_figure(told.search).axes[0].get_ylabel() == "agreement (%)"


@pytest.mark.parametrize(
    ("dense", "pruned", "same", "other"),
    [
        ("A red circle.", "A red cross.", "A red", "cross."),
        ("A red circle.", "A red circle. It moves.", "A red circle.", "It moves."),
        ("It moves up. Yes.", "It moves up. No.", "It moves up.", "No."),
        ("the same", "the same", "the same", ""),
        ("one", "two", "", "two"),
        ("one", "", "", ""),
    ],
)
def test_where_replies_part(dense: str, pruned: str, same: str, other: str) -> None:
    example = ReplyExample("a", "all", "What is there?", None, dense, pruned, 0)
    assert example.parts == (same, other)
    assert " ".join(filter(None, example.parts)) == pruned
