"""How pages are rendered: everything is escaped, and a missing value is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def _escaped(name: str | None) -> bool:
    """Pages are HTML; the model card is Markdown, and the style sheet is ours."""
    return name is None or name.endswith(".html.j2")


ENVIRONMENT = Environment(
    loader=PackageLoader("prune.report"),
    autoescape=_escaped,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Finds the templates of this package."""
