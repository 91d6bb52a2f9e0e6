"""Should I ship this? An answer from the numbers, never surer than their intervals allow."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prune.bench.rows import LatencyRow, by_quantity
from prune.evaluate.paired import AccuracyReport
from prune.evaluate.stats import Interval
from prune.result import Result

Tone = Literal["good", "open", "bad"]
Told = Literal["faster", "slower", "same"]

SAME = 0.02
"""Share of a cost that counts as nothing."""

SLOWER = 0.05
"""Loss of a median time that counts as one."""


@dataclass(frozen=True)
class Point:
    """One reason: what it is about, what was found, and whether it speaks for shipping."""

    about: str
    text: str
    tone: Tone


@dataclass(frozen=True)
class Verdict:
    """The answer, in a few words and in a sentence or two, with its reasons."""

    tone: Tone
    headline: str
    because: str
    points: tuple[Point, ...]


def verdict(result: Result) -> Verdict:
    """Judge a plan by the held-out questions, by what its cost buys otherwise, and by its savings.

    With a budget of points (`--max-drop`) the loss is held against it, else against zero. A loss is
    called allowed only if its whole interval is, and excessive only if its whole interval is.
    """
    points = tuple(_points(result))
    if result.accuracy is None:
        return Verdict("open", "Nobody knows yet", "Its accuracy was not measured.", points)
    rival = next((b for b in result.baselines if b.difference.high < 0), None)
    if _saves_nothing(result):
        return Verdict("bad", "No", "It saves nothing.", points)
    if rival is not None:
        why = f"{rival.name} answers better for the same cost."
        return Verdict("bad", "No", why, points)
    tone, headline, because = _judged(result.accuracy, limit_of(result))
    doubts = []
    if slower := slowdown(result):
        doubts.append(f"On the machine that measured it, it is slower: {slower}.")
    if result.audit is not None and not result.audit.passed:
        doubts.append("And it does not rest on the dense model's evidence.")
    if doubts and tone == "good":
        tone, headline = "open", "It depends"
    return Verdict(tone, headline, " ".join([because, *doubts]), points)


def limit_of(result: Result) -> float | None:
    """Points of accuracy that the plan was allowed to lose, if that was its budget."""
    budget = result.search.budget if result.search else None
    return budget.value if budget and budget.kind == "max_drop" else None


def _judged(accuracy: AccuracyReport, limit: float | None) -> tuple[Tone, str, str]:
    """What the paired difference says, against the limit or against zero."""
    change, n = accuracy.overall.difference, accuracy.overall.n
    worst = f"{max(0.0, -change.low):.1f} points"
    if limit is None:
        if change.low > 0:
            return "good", "Yes", "It answers better than the dense model."
        told = (
            f"It costs between {-change.high:.1f} and {worst} of accuracy"
            if change.high < 0
            else f"No loss could be shown, but {n} questions cannot rule out one of {worst}"
        )
        return "open", f"Only if {worst} may be lost", f"{told}; no limit was stated."
    allowed = f"the {limit:g} points that were allowed"
    if change.high < -limit:
        return "bad", "No", f"It loses more than {allowed}, whatever the sampling error."
    if change.low >= -limit:
        return "good", "Yes", f"It loses less than {allowed}, with the whole interval."
    if change.value < -limit:
        return "open", "Rather not", (
            f"The measured loss is more than {allowed}; {n} questions cannot rule out less."
        )  # fmt: skip
    needed = _needed(change, limit, n)
    more = f"; about {needed:,} would tell" if needed else ""
    return "open", "Perhaps", (
        f"The measured loss is within {allowed}, but {n} questions cannot rule out {worst}{more}."
    )  # fmt: skip


def _needed(change: Interval, limit: float, n: int) -> int | None:
    """Questions with which the interval, as wide as one finds it, would clear the limit."""
    room = change.value + limit
    if room <= 0:
        return None
    needed = n * ((change.value - change.low) / room) ** 2
    digits = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return math.ceil(needed / digits) * digits


def _points(result: Result) -> Iterator[Point]:
    if result.accuracy is not None:
        yield from _accuracy_points(result, result.accuracy)
    yield from _baseline_points(result)
    yield from _saving_points(result)
    if result.search is not None and result.search.warning is not None:
        yield Point("Calibration", f"{result.search.warning}.", "open")
    if result.audit is not None:
        broken = [f.name for f in result.audit.findings if not f.kept]
        yield Point(
            "Evidence",
            f"the audit of {result.audit.explained} answers broke: {', '.join(broken)}."
            if broken
            else f"the audit of {result.audit.explained} answers kept every limit.",
            "bad" if broken else "good",
        )


def _accuracy_points(result: Result, accuracy: AccuracyReport) -> Iterator[Point]:
    overall, limit = accuracy.overall, limit_of(result)
    bound = 0.0 if limit is None else limit
    yield Point(
        "Accuracy",
        f"{overall.dense.value:.1f} → {overall.pruned.value:.1f}%, {spoken(overall.difference)} "
        f"points on {overall.n} questions that neither trace nor search saw.",
        _tone(overall.difference, -bound),
    )
    if len(accuracy.tasks) > 1:
        worst = min(accuracy.tasks, key=lambda row: row.difference.value)
        yield Point(
            "Worst task",
            f"{worst.task.replace('_', ' ')}, {spoken(worst.difference)} points on {worst.n} "
            f"questions; the worst of {len(accuracy.tasks)} looks worse than it is.",
            _tone(worst.difference, -bound),
        )


def _tone(change: Interval, bound: float) -> Tone:
    return "good" if change.low >= bound else "bad" if change.high < bound else "open"


def _baseline_points(result: Result) -> Iterator[Point]:
    """The margin over chance, and over the best that the same cost buys otherwise."""
    chance = [b for b in result.baselines if len(b.accuracies) > 1]
    others = [b for b in result.baselines if len(b.accuracies) == 1]
    for about, rows in (("Chance", chance), ("Best rival", others)):
        if rows:
            best = min(rows, key=lambda row: row.difference.value)
            by = best.difference
            said = "better than" if by.low > 0 else "worse than" if by.high < 0 else "a tie with"
            seeds = f" (the best of {len(best.accuracies)} seeds)" if best in chance else ""
            yield Point(
                about,
                f"{said} {best.name}{seeds} at the same cost, by {spoken(by)} points.",
                _tone(by, 0.0),
            )


def _saving_points(result: Result) -> Iterator[Point]:
    flops, kv = shares(result)
    yield Point(
        "Counted",
        f"{result.removed:.0f}% of attention edges, {100 * (1 - flops):.0f}% of prefill FLOPs and "
        f"{100 * (1 - kv):.0f}% of the KV cache are saved.",
        "bad" if _saves_nothing(result) else "good",
    )
    where = result.conditions.get("device", "the machine at hand")
    if result.latency:
        yield _measured("Measured", f"on {where}", result.latency)
    if result.benched:
        last = max(result.benched, key=lambda at: at.shape.frames)
        yield _measured("Benched", f"at {last.shape.frames} frames", last.latency)


def _measured(about: str, where: str, rows: Sequence[LatencyRow]) -> Point:
    """What was timed, and whether any of it is a gain or a loss."""
    found = speedups(rows)
    shown = ", ".join(
        f"{what} {s.ratio:.2f}x{' (within the noise)' if s.told == 'same' else ''}"
        for what, s in found.items()
    )
    told = {s.told for s in found.values()}
    tone: Tone = "bad" if "slower" in told else "good" if "faster" in told else "open"
    return Point(about, f"speed-up {where}: {shown}.", tone)


def plus(value: float, digits: int = 1) -> str:
    """A number with its sign, a real minus; zero has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def spoken(interval: Interval) -> str:
    """For example `+0.6 [+0.1, +1.1]`."""
    return f"{plus(interval.value)} [{plus(interval.low)}, {plus(interval.high)}]"


@dataclass(frozen=True)
class Speedup:
    """Dense over pruned time, and what the runs tell.

    A gain is told only where the middle 60% of the runs lie apart, a loss by the medians alone.
    """

    ratio: float
    told: Told


def shares(result: Result) -> tuple[float, float]:
    """Prefill FLOPs and KV bytes that are left, as shares of the dense model's."""
    dense, *_, best = result.cost
    return best.flops / dense.flops, best.kv_bytes / dense.kv_bytes


def speedups(measured: Sequence[LatencyRow]) -> dict[str, Speedup]:
    """What pruning changes of what a user waits for, as far as it was measured."""
    rows = by_quantity(measured)
    found: dict[str, Speedup] = {}
    for what in ("LLM prefill", "time to first token", "decode step"):
        if what in rows:
            dense, pruned = rows[what]["dense"], rows[what]["pruned"]
            ratio = dense.median / pruned.median
            slower, faster = ratio < 1 - SLOWER, pruned.p80 < dense.p20
            told: Told = "slower" if slower else "faster" if faster else "same"
            found[what] = Speedup(ratio, told)
    return found


def slowdown(result: Result) -> str:
    """What got slower, in words; empty if nothing did."""
    return ", ".join(
        f"{what} takes {1 / s.ratio:.2f}x as long"
        for what, s in speedups(result.latency).items()
        if s.told == "slower"
    )


def _saves_nothing(result: Result) -> bool:
    return min(shares(result)) > 1 - SAME
