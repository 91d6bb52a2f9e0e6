"""`audit.html`: the verdict of an audit, its numbers, and the samples that changed most."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from prune.report.figures.style import svg

_ENVIRONMENT = Environment(
    loader=PackageLoader("prune.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def audit_html(audit: Mapping[str, Any], labels: Mapping[str, str], worst: Figure) -> str:
    """The audit as one self-contained page; text from data sets is escaped.

    Args:
        audit: what `audit.json` holds.
        labels: what each measure is called.
        worst: the samples whose evidence changed most.
    """
    template = _ENVIRONMENT.get_template("audit.html.j2")
    return template.render(a=audit, labels=labels, worst=svg(worst))
