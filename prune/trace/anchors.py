"""Anchors of a reply: matches of a regular expression, or its verbs."""

import re
from collections.abc import Callable

from prune.errors import UsageError
from prune.inputs.tagger import tagger

Find = Callable[[str], list[tuple[int, int]]]
"""Maps a text to the start and stop offsets of its anchors, in order."""


def matches(pattern: str) -> Find:
    """Anchors that match a regular expression; empty matches do not count.

    Raises:
        UsageError: it is not a regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--anchor {pattern!r}: not a regular expression: {error}") from None
    return lambda text: [m.span() for m in compiled.finditer(text) if m.end() > m.start()]


def verbs(pipeline: str) -> Find:
    """Anchors that a spaCy pipeline tags as verbs (Map the Flow uses `en_core_web_lg`).

    Raises:
        BadInputError: as in `tagger`.
    """
    parse = tagger(pipeline, "--verbs")
    return lambda text: [(t.idx, t.idx + len(t)) for t in parse(text) if t.pos_ == "VERB"]
