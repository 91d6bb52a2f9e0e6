"""Findings of an audit: intervals of its means against the limits that a user sets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prune.results.existence import Existence
from prune.results.interval import FEWEST, Mean, growth_that_decides

MEASURES = {
    "rank_correlation": "rank correlation of the regions' evidence",
    "iou_20": "IoU of the fifth of the clip that matters most",
    "insertion_change": "change of insertion AUC",
    "deletion_change": "change of deletion AUC",
    "other_evidence": "right answers that stay right on other evidence",
}
"""What an audit measures per sample, by key of the record: its title in tables and pages."""


@dataclass(frozen=True)
class AuditLimits:
    """What a pruned model may change; each holds for a mean over samples.

    Attributes:
        min_correlation: of the regions' evidence, in [-1, 1].
        min_iou: of the fifth of the clip that matters most, in [0, 1].
        max_insertion_drop: of insertion AUC, in [0, 1].
        max_other_evidence: share of right answers that stay right on other evidence, in [0, 1].
        max_hallucination_rise: of the share of absent things said to be there, in points.
    """

    min_correlation: float = 0.5
    min_iou: float = 0.4
    max_insertion_drop: float = 0.08
    max_other_evidence: float = 0.5
    max_hallucination_rise: float = 5.0


Outcome = Literal["kept", "broken", "open"]
"""Of a limit: the whole interval is within it, or beyond it, or there are too few videos to say."""


@dataclass(frozen=True)
class Finding:
    """One limit and what was measured against it.

    Attributes:
        low, high: ends of the 95% interval of the value; None with fewer than `FEWEST` videos.
        videos: how many videos it was measured on.
        needed: about how many would decide, if these do not and that can be said.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    videos: int
    limit: float
    outcome: Outcome
    needed: int | None

    def __str__(self) -> str:
        """For people."""
        ends = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        found = f"{self.name} {self.value:.3f}{ends} (limit {self.limit:g}"
        more = f", about {self.needed} would decide" if self.needed else ""
        return f"{found}; {self.videos} videos{more})" if self.outcome == "open" else f"{found})"


def verdict(
    means: Mapping[str, Mean], existence: Existence | None, limits: AuditLimits
) -> list[Finding]:
    """Every limit that could be measured, against the interval of what was measured."""
    rows = [
        ("rank correlation", means.get("rank_correlation"), limits.min_correlation, True),
        ("IoU@20%", means.get("iou_20"), limits.min_iou, True),
        (
            "drop of insertion AUC",
            _turned(means.get("insertion_change")),
            limits.max_insertion_drop,
            False,
        ),
        ("other evidence", means.get("other_evidence"), limits.max_other_evidence, False),
    ]
    found = [
        _finding(name, mean, limit, at_least)
        for name, mean, limit, at_least in rows
        if mean is not None
    ]
    return found if existence is None else [*found, _rise(existence, limits.max_hallucination_rise)]


def outcome_of(findings: Sequence[Finding]) -> Outcome:
    """Broken if any limit is, kept if all are, else open."""
    outcomes = {finding.outcome for finding in findings}
    return "broken" if "broken" in outcomes else "kept" if outcomes == {"kept"} else "open"


def _finding(name: str, mean: Mean, limit: float, at_least: bool) -> Finding:
    value, low, high = mean.mean, mean.low, mean.high
    outcome: Outcome = "open"
    needed: int | None = FEWEST
    if low is not None and high is not None:
        within, beyond = (low >= limit, high < limit) if at_least else (high <= limit, low > limit)
        outcome = "kept" if within else "broken" if beyond else "open"
        reach = value - low if (value > limit) else high - value
        room = abs(value - limit)
        # An interval narrows with the root of the number of videos.
        needed = math.ceil(round(mean.videos * (reach / room) ** 2, 6)) if room else None
    return Finding(
        name, value, low, high, mean.videos, limit, outcome, needed if outcome == "open" else None
    )


def _turned(mean: Mean | None) -> Mean | None:
    """The mean of the values with the other sign."""
    if mean is None or mean.low is None or mean.high is None:
        return mean and replace(mean, mean=0.0 - mean.mean)
    return replace(mean, mean=0.0 - mean.mean, low=0.0 - mean.high, high=0.0 - mean.low)


def _rise(existence: Existence, limit: float) -> Finding:
    change, videos = existence.change, existence.videos
    mean = Mean(change.value, change.low, change.high, existence.absent, videos)
    if videos < FEWEST:
        mean = replace(mean, low=None, high=None)
    found = _finding("rise of hallucination (points)", mean, limit, at_least=False)
    if found.outcome != "open" or found.low is None:
        return found
    times = growth_that_decides(change, existence.changed / existence.absent, limit)
    return replace(found, needed=None if times is None else math.ceil(round(videos * times, 6)))
