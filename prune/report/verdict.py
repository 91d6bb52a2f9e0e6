"""The verdict on shipping a pruned model, never more certain than its intervals allow."""

import math
from dataclasses import dataclass

from prune.report.judged_existence import judge_existence
from prune.report.judged_replies import judge_replies
from prune.report.numbers import asked_of, limit_of, shares, slowdown
from prune.report.reasons import Reason, Tone, reasons, saves_nothing
from prune.results.accuracy import AccuracyReport
from prune.results.export_result import BaselineRow, Result
from prune.results.interval import growth_that_decides
from prune.results.replies import ReplyBaseline

TONES: tuple[Tone, ...] = ("bad", "open", "good")

ALIKE = 0.05
"""Share of the dense model's FLOPs by which a rival may cost more."""


@dataclass(frozen=True)
class Verdict:
    """The verdict: a headline, an explanation and the reasons."""

    tone: Tone
    headline: str
    because: str
    points: tuple[Reason, ...]


def verdict(result: Result) -> Verdict:
    """Judge a plan by held-out questions, by rivals at the same cost, and by its savings.

    With a budget of points (`--max-drop`) the loss is held against it, else against zero; replies
    to open questions against theirs (`judge_replies`). A loss is called allowed only if its whole
    interval is, and excessive only if its whole interval is.
    """
    points = tuple(reasons(result))
    accuracy, replies = result.accuracy, result.replies.overall if result.replies else None
    judged = [_judged(accuracy, limit_of(result))] if accuracy else []
    judged += [judge_replies(result, replies)] if replies else []
    mended = result.search is not None and result.search.budget.objective == "hallucination"
    judged += [judge_existence(accuracy.existence)] if mended and accuracy else []
    if not judged:
        return Verdict("open", "Not measured yet", "Its accuracy was not measured.", points)
    if saves_nothing(result) and not mended:
        return Verdict("bad", "No", "It saves nothing.", points)
    if (rival := _rival(result)) is not None:
        return Verdict("bad", "No", f"{rival} answers better at the same cost.", points)
    # The worse of the two decides, and both are told.
    tone, headline, _ = min(judged, key=lambda one: TONES.index(one[0]))
    because = " ".join(told for _, _, told in judged)
    doubts = []
    if slower := slowdown(result):
        doubts.append(f"On the machine that measured it, it is slower: {slower}.")
    if result.audit is not None and result.audit.outcome == "broken":
        doubts.append("It does not rely on the dense model's evidence.")
    if doubts and tone == "good":
        tone, headline = "open", "It depends"
    return Verdict(tone, headline, " ".join([because, *doubts]), points)


def _rival(result: Result) -> str | None:
    """A baseline that costs no more and answers better over the whole interval."""
    most = shares(result)[0] + ALIKE
    rivals: list[BaselineRow | ReplyBaseline] = [
        *result.baselines,
        *(result.replies.baselines if result.replies else ()),
    ]
    better = [b for b in rivals if b.difference.high < 0 and b.flops <= most]
    return better[0].name if better else None


def _judged(accuracy: AccuracyReport, limit: float | None) -> tuple[Tone, str, str]:
    """The verdict of the paired difference, against the limit or against zero."""
    change, asked = accuracy.overall.difference, asked_of(accuracy.overall)
    worst = f"{max(0.0, -change.low):.1f} points"
    if limit is None:
        if change.low > 0:
            return "good", "Yes", "It answers better than the dense model."
        told = (
            f"It costs between {-change.high:.1f} and {worst} of accuracy"
            if change.high < 0
            else f"No loss could be shown, but {asked} cannot rule out one of {worst}"
        )
        return "open", f"Only if {worst} may be lost", f"{told}; no limit was set."
    allowed = f"the limit (--max-drop {limit:g})"
    if change.high < -limit:
        return "bad", "No", f"It loses more than {allowed} over the whole interval."
    if change.low >= -limit:
        return "good", "Yes", f"It loses less than {allowed} over the whole interval."
    if change.value < -limit:
        return "open", "Probably not", (
            f"The measured loss is over {allowed}; {asked} cannot rule out a smaller one."
        )  # fmt: skip
    return "open", "Perhaps", (
        f"The measured loss is within {allowed}, but {asked} cannot rule out {worst}"
        f"{_needed(accuracy, limit)}."
    )  # fmt: skip


def _needed(accuracy: AccuracyReport, limit: float) -> str:
    """Number of questions, and of videos, with which the interval would clear the limit."""
    row = accuracy.overall
    changed = sum(flip.lost or flip.won for flip in accuracy.flipped) / row.n
    times = growth_that_decides(row.difference, changed, -limit)
    if times is None:
        return ""
    questions, videos = (f"{_rounded(count * times):,}" for count in (row.n, row.videos))
    shared = row.videos < row.n
    needed = f"some {questions} about {videos} videos" if shared else f"about {questions}"
    return f"; {needed} would decide"


def _rounded(count: float) -> int:
    """Up, to two digits."""
    digits: int = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / digits) * digits
