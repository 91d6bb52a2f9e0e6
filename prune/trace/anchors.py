"""Where the anchors of a reply are: matches of a regular expression, or its verbs."""

import re
from collections.abc import Callable

from prune.errors import UsageError
from prune.inputs.tagger import tagger

Find = Callable[[str], list[tuple[int, int]]]
"""From a text the offsets where its anchors start and stop, in order."""


def matches(pattern: str) -> Find:
    """Anchors are what a regular expression matches; empty matches are none.

    Raises:
        UsageError: it is not a regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--anchor {pattern!r}: not a regular expression: {error}") from None
    return lambda text: [m.span() for m in compiled.finditer(text) if m.end() > m.start()]


def verbs(pipeline: str) -> Find:
    """Anchors are the verbs that a spaCy pipeline finds (Map the Flow uses `en_core_web_lg`).

    Raises:
        BadInputError: as in `tagger`.
    """
    parse = tagger(pipeline, "--verbs")
    return lambda text: [(t.idx, t.idx + len(t)) for t in parse(text) if t.pos_ == "VERB"]
