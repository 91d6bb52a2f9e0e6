"""The Jinja environment of the pages: everything is escaped, missing values are errors."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_PLAIN = re.compile(r"[\w./:@+, ()-]+")
_OPTION = re.compile(r"--[a-z][a-z-]*( \d[\d.]*)?")
_MEANS_SOMETHING = re.compile(r"([\\`*_\[\]|#~$])")


def _escaped(name: str | None) -> bool:
    """Pages are HTML; the model card is Markdown, and the style sheet is ours."""
    return name is None or name.endswith(".html.j2")


def inline(text: str) -> str:
    """Text of others in a line of Markdown: neither Markdown nor HTML in it means anything."""
    line = "".join(c if c.isprintable() else " " for c in text)
    html = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MEANS_SOMETHING.sub(r"\\\1", html)


def code(text: str) -> str:
    """A name as code in Markdown, or as text if it could end the code."""
    return f"`{text}`" if _PLAIN.fullmatch(text) else inline(text)


def unbroken(text: str) -> Markup:
    """A sentence in HTML whose options, with their numbers, stay on one line."""
    return Markup(_OPTION.sub(r'<span class="unbroken">\g<0></span>', str(escape(text))))


ENVIRONMENT = Environment(
    loader=PackageLoader("prune.report"),
    autoescape=_escaped,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Finds the templates of this package."""

ENVIRONMENT.filters |= {"inline": inline, "code": code, "unbroken": unbroken}
