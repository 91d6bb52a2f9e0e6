"""Reasons for and against shipping a pruned model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prune.report.numbers import asked_of, least_agreement, limit_of, shares, speedups, spoken
from prune.report.told_existence import told_existence
from prune.results.accuracy import AccuracyReport
from prune.results.audit_findings import Outcome
from prune.results.export_result import Audit, Result
from prune.results.frame_counts import FrameCountsReport
from prune.results.interval import Interval
from prune.results.latency import LatencyRow
from prune.results.replies import RepliesReport, ReplyRow

Tone = Literal["good", "open", "bad"]

SAME = 0.02
"""Share of a cost that is negligible."""


@dataclass(frozen=True)
class Reason:
    """One reason: its subject, the finding, and whether it is in favour of shipping."""

    about: str
    text: str
    tone: Tone


def reasons(result: Result) -> Iterator[Reason]:
    """Accuracy, chance and rivals, savings, calibration and evidence, as far as they are known."""
    if result.accuracy is not None:
        yield from _accuracy_points(result, result.accuracy)
    if result.frame_counts is not None:
        yield from _frames_points(result, result.frame_counts)
    if result.replies is not None and result.replies.overall is not None:
        agreement = least_agreement(result)
        yield from _reply_points(result.replies, result.replies.overall, agreement)
    yield from _baseline_points(result)
    yield from _saving_points(result)
    if result.search is not None and result.search.warning is not None:
        yield Reason("Calibration", f"{result.search.warning}.", "open")
    if result.audit is not None:
        yield _evidence(result.audit)


def _evidence(audit: Audit) -> Reason:
    which = ", ".join(f.name for f in audit.findings if f.outcome == audit.outcome)
    told: dict[Outcome, tuple[str, Tone]] = {
        "kept": ("kept every limit", "good"),
        "broken": (f"broke: {which}", "bad"),
        "open": (f"has too few videos to say: {which}", "open"),
    }
    text, tone = told[audit.outcome]
    return Reason("Evidence", f"the audit of {audit.explained} answers {text}.", tone)


def _accuracy_points(result: Result, accuracy: AccuracyReport) -> Iterator[Reason]:
    overall, limit = accuracy.overall, limit_of(result)
    bound = 0.0 if limit is None else limit
    known = f", {accuracy.by_path} of them distinguished by path alone"
    by_path = known if accuracy.by_path else ""
    yield Reason(
        "Accuracy",
        f"{overall.dense.value:.1f} → {overall.pruned.value:.1f}%, {spoken(overall.difference)} "
        f"points on {overall.n} questions about {overall.videos} "
        f"video{'s' if overall.videos > 1 else ''} unseen by trace and search{by_path}.",
        _tone(overall.difference, -bound),
    )
    if len(accuracy.tasks) > 1:
        worst = min(accuracy.tasks, key=lambda row: row.difference.value)
        count, task = len(accuracy.tasks), worst.task.replace("_", " ")
        said = f"{task}, {spoken(worst.difference)} points on {asked_of(worst)}"
        yield Reason(
            "Worst task",
            f"{said}; the worst of {count} tasks tends to look worse than it is."
            if worst.difference.value < 0
            else f"none of {count} tasks lost; {said}.",
            _tone(worst.difference, -bound),
        )
    if (seen := accuracy.existence) is not None:
        sides: tuple[Tone, Tone, Tone] = ("good", "bad", "open")
        tone = sides[0 if seen.change.high <= 0 else 1 if seen.change.low > 0 else 2]
        yield Reason("Hallucination", told_existence(seen), tone)


def _frames_points(result: Result, counts: FrameCountsReport) -> Iterator[Reason]:
    """The number of frames that the rest of the page is about."""
    worst, all_counts = counts.worst, ", ".join(str(row.frames) for row in counts.rows)
    if worst.answers is not None:
        change, bound = worst.answers.difference, -(limit_of(result) or 0.0)
        said, tone = f"{spoken(change)} points of accuracy", _tone(change, bound)
    else:
        assert worst.agreement is not None, "a row is about questions or replies"
        limit = least_agreement(result)
        said = f"{worst.agreement.value:.1f}% of the tokens of replies agree"
        tone = "open" if limit is None else _tone(worst.agreement, limit)
    yield Reason(
        "Frame counts",
        f"at {worst.frames} frames, the worst of {all_counts}, {said}. Everything else here was "
        "measured there.",
        tone,
    )


def _reply_points(
    replies: RepliesReport, overall: ReplyRow, limit: float | None
) -> Iterator[Reason]:
    """Agreement of replies with the dense model, and the margin over chance and rivals."""
    share, about = overall.agreement, f"{overall.n} replies about {overall.videos} videos"
    free = next((f" {s.exact:.0f}% of free replies are the same text." for s in replies.free
                 if (s.of, s.to) == ("pruned", "dense")), "")  # fmt: skip
    yield Reason(
        "Replies",
        f"{share.value:.1f}% [{share.low:.1f}, {share.high:.1f}] of the tokens of {about} unseen "
        f"by trace and search agree with the dense model, KL {overall.kl.mean:.3f} nats.{free}",
        "open" if limit is None else _tone(share, limit),
    )
    if replies.baselines:
        best = min(replies.baselines, key=lambda row: row.difference.value)
        yield Reason(
            "Best rival, replies",
            f"the plan's replies agree by {spoken(best.difference)} points more than those of "
            f"{best.name}.",
            _tone(best.difference, 0.0),
        )


def _tone(change: Interval, bound: float) -> Tone:
    return "good" if change.low >= bound else "bad" if change.high < bound else "open"


def _baseline_points(result: Result) -> Iterator[Reason]:
    """The margin over chance, and over the best other method, with what each costs."""
    ours = shares(result)[0]
    chance = [b for b in result.baselines if len(b.accuracies) > 1]
    others = [b for b in result.baselines if len(b.accuracies) == 1]
    for about, rows in (("Chance", chance), ("Best rival", others)):
        if rows:
            best = min(rows, key=lambda row: row.difference.value)
            by = best.difference
            said = "better than" if by.low > 0 else "worse than" if by.high < 0 else "a tie with"
            seeds = f" (the best of {len(best.accuracies)} seeds)" if best in chance else ""
            yield Reason(
                about,
                f"{said} {best.name}{seeds}, by {spoken(by)} points at {100 * ours:.0f}% of the "
                f"FLOPs to its {100 * best.flops:.0f}%.",
                _tone(by, 0.0),
            )


def _saving_points(result: Result) -> Iterator[Reason]:
    flops, kv = shares(result)
    yield Reason(
        "Counted",
        f"{result.removed:.0f}% of attention edges, {100 * (1 - flops):.0f}% of prefill FLOPs and "
        f"{100 * (1 - kv):.0f}% of the KV cache are saved.",
        "bad" if saves_nothing(result) else "good",
    )
    where = result.conditions.get("device", "this machine")
    if result.latency:
        yield _measured("Measured", f"on {where}", result.latency)
    if result.benched:
        last = max(result.benched, key=lambda at: at.shape.frames)
        yield _measured("Benched", f"at {last.shape.frames} frames", last.latency)


def _measured(about: str, where: str, rows: Sequence[LatencyRow]) -> Reason:
    """The measured speed-ups, and whether any is a gain or a loss."""
    found = speedups(rows)
    shown = ", ".join(f"{what} {s.ratio:.2f}x{s.remark}" for what, s in found.items())
    told = {s.told for s in found.values()}
    tone: Tone = "bad" if "slower" in told else "good" if "faster" in told else "open"
    again = " Noisy: the ranges overlap, so bench again." if "noisy" in told else ""
    return Reason(about, f"speed-up {where}: {shown}.{again}", tone)


def saves_nothing(result: Result) -> bool:
    """Whether the plan reduces neither FLOPs nor cache."""
    return min(shares(result)) > 1 - SAME
