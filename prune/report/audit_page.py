"""`audit.html`: the verdict of an audit, its numbers, and the samples that changed most."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from prune.report.environment import ENVIRONMENT
from prune.report.figures.style import svg
from prune.report.numbers import plus
from prune.results.audit_findings import Finding
from prune.results.export_result import Audit

AUDIT_PAGE = "audit.html"


def audit_html(audit: Mapping[str, Any], labels: Mapping[str, str], worst: Figure) -> str:
    """The audit as one self-contained page; text from data sets is escaped.

    Args:
        audit: the content of `audit.json`.
        labels: title of each measure.
        worst: the samples whose evidence changed most.
    """
    template = ENVIRONMENT.get_template("audit.html.j2")
    return template.render(a=audit, labels=labels, worst=svg(worst), plus=plus)


def audit_summary(audit: Mapping[str, Any]) -> Audit:
    """The part of an audit that the report of the pruned model shows."""
    return Audit(
        audit["outcome"],
        tuple(Finding(**finding) for finding in audit["findings"]),
        len(audit["samples"]),
        audit["accuracy"]["n"]["value"],
        audit["command"],
    )
