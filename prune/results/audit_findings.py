"""Findings of an audit: its means against the limits that a user sets."""

from dataclasses import dataclass

from prune.results.existence import Existence

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


@dataclass(frozen=True)
class Finding:
    """One limit and what was measured against it."""

    name: str
    value: float
    limit: float
    kept: bool

    def __str__(self) -> str:
        """For people."""
        return f"{self.name} {self.value:.3f} (limit {self.limit:g})"


def verdict(
    means: dict[str, dict[str, float]], existence: Existence | None, limits: AuditLimits
) -> list[Finding]:
    """Every limit that could be measured; the audit passes where all are kept."""

    def mean(name: str) -> float | None:
        return means[name]["mean"] if name in means else None

    fall = mean("insertion_change")
    rows = [
        ("rank correlation", mean("rank_correlation"), limits.min_correlation, True),
        ("IoU@20%", mean("iou_20"), limits.min_iou, True),
        (
            "drop of insertion AUC",
            None if fall is None else -fall,
            limits.max_insertion_drop,
            False,
        ),
        ("other evidence", mean("other_evidence"), limits.max_other_evidence, False),
        (
            "rise of hallucination (points)",
            existence.change.value if existence else None,
            limits.max_hallucination_rise,
            False,
        ),
    ]
    return [
        Finding(name, value, limit, value >= limit if at_least else value <= limit)
        for name, value, limit, at_least in rows
        if value is not None
    ]
