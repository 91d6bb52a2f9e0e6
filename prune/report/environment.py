"""The Jinja environment of the pages: everything is escaped, missing values are errors."""

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
