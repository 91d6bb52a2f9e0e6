"""Numbers as pages print them, and those derived from a `Result`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prune.results.accuracy import TaskRow
from prune.results.export_result import Result
from prune.results.interval import Interval
from prune.results.latency import LatencyRow, by_quantity

Told = Literal["faster", "slower", "noisy", "same"]

SLOWER = 0.05
"""Difference of median times, as a share, from which it is one, or noise that hides one."""


def plus(value: float, digits: int = 1) -> str:
    """A number with its sign, a real minus; zero has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def spoken(interval: Interval) -> str:
    """For example `+0.6 [+0.1, +1.1]`."""
    return f"{plus(interval.value)} [{plus(interval.low)}, {plus(interval.high)}]"


def asked_of(row: TaskRow) -> str:
    """The questions of a row, and the videos that they are about unless each has its own."""
    about = f" about {row.videos} video{'s' if row.videos > 1 else ''}"
    return f"{row.n} questions{about if row.videos < row.n else ''}"


def si(value: float, unit: str) -> str:
    """A number with three digits and a decimal prefix: `1.24 MB`."""
    power = min(max(0, (len(str(int(abs(value)))) - 1) // 3), 5)
    return f"{value / 1000**power:.3g} {'kMGTP'[power - 1] if power else ''}{unit}"


def limit_of(result: Result) -> float | None:
    """Points of accuracy that the plan was allowed to lose, if its budget limits them."""
    return _limits(result).get("max_drop")


def least_agreement(result: Result) -> float | None:
    """Percent of reply tokens that had to stay the same, if its budget says so."""
    return _limits(result).get("min_agreement")


def most_kl(result: Result) -> float | None:
    """Nats by which replies were allowed to diverge, if its budget says so."""
    return _limits(result).get("max_kl")


def _limits(result: Result) -> dict[str, float]:
    return {kind: value for kind, value in result.search.budget.limits} if result.search else {}


@dataclass(frozen=True)
class Speedup:
    """Dense over pruned time, and whether the difference is significant.

    A gain or a loss counts only if the middle 60% of the runs do not overlap: medians that differ
    by more than `SLOWER` while they do are noisy.
    """

    ratio: float
    told: Told

    @property
    def remark(self) -> str:
        """What to add to the ratio; "" where it stands for itself."""
        remarks = {"same": " (within the noise)", "noisy": " (noisy)"}
        return remarks.get(self.told, "")


def shares(result: Result) -> tuple[float, float]:
    """Prefill FLOPs and KV bytes that are left, as shares of the dense model's."""
    dense, *_, best = result.cost
    return best.flops / dense.flops, best.kv_bytes / dense.kv_bytes


def speedups(measured: Sequence[LatencyRow]) -> dict[str, Speedup]:
    """Speed-ups of the times that a user waits for, as far as they were measured."""
    rows = by_quantity(measured)
    found: dict[str, Speedup] = {}
    for what in ("LLM prefill", "time to first token", "decode step"):
        if what in rows:
            dense, pruned = rows[what]["dense"], rows[what]["pruned"]
            ratio = dense.median / pruned.median
            found[what] = Speedup(ratio, _told(dense, pruned))
    return found


def _told(dense: LatencyRow, pruned: LatencyRow) -> Told:
    if pruned.p80 < dense.p20:
        return "faster"
    if abs(dense.median / pruned.median - 1) <= SLOWER:
        return "same"
    return "slower" if pruned.p20 > dense.p80 else "noisy"


def slowdown(result: Result) -> str:
    """The slower times, in words; empty if there are none."""
    return ", ".join(
        f"{what} takes {1 / s.ratio:.2f}x as long"
        for what, s in speedups(result.latency).items()
        if s.told == "slower"
    )
