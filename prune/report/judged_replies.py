"""The judgement of replies to open questions: against the limits that a search was given."""

from prune.report.numbers import least_agreement, most_kl
from prune.report.reasons import Tone
from prune.results.export_result import Result
from prune.results.replies import ReplyRow

Judged = tuple[Tone, str, str]
"""Tone, headline and explanation."""


def judge_replies(result: Result, replies: ReplyRow) -> Judged:
    """Hold replies against `--min-agreement` and `--max-kl`; the worse of the two decides.

    A limit is called kept, or broken, only if the whole interval says so.
    """
    agreement, kl = least_agreement(result), most_kl(result)
    asked = f"{replies.n} replies about {replies.videos} video{'s' if replies.videos > 1 else ''}"
    found: list[Judged] = []
    if agreement is not None:
        low, high = replies.agreement.low - agreement, replies.agreement.high - agreement
        limit = f"the limit of agreement (--min-agreement {agreement:g})"
        found.append(_judged(low, replies.agreement.value - agreement, high, limit, asked))
    if kl is not None:
        worst, best = (None if x is None else kl - x for x in (replies.kl.high, replies.kl.low))
        limit = f"the limit of divergence (--max-kl {kl:g})"
        found.append(_judged(worst, kl - replies.kl.mean, best, limit, asked))
    if not found:
        lost = 100 - replies.agreement.low
        return (
            "open",
            f"Only if {lost:.1f}% of reply tokens may change",
            f"{asked} cannot rule out that so many do; no limit was set.",
        )
    order: tuple[Tone, ...] = ("bad", "open", "good")
    return min(found, key=lambda one: order.index(one[0]))


def _judged(low: float | None, margin: float, high: float | None, limit: str, asked: str) -> Judged:
    """One limit, by how much it is kept: the margin and the ends of its interval, if it has one."""
    if high is not None and high < 0:
        return "bad", "No", f"Its replies break {limit} over the whole interval."
    if low is not None and low >= 0:
        return "good", "Yes", f"Its replies keep {limit} over the whole interval."
    if margin < 0:
        return "open", "Probably not", f"Its replies break {limit}; {asked} cannot rule out less."
    return (
        "open",
        "Perhaps",
        f"Its replies keep {limit}, but {asked} cannot rule out that they do not.",
    )
