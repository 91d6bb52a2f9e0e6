"""Where the anchors of a reply are: matches of a regular expression, or its verbs."""

import re
from collections.abc import Callable

from prune.errors import BadInputError, UsageError

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

    Args:
        pipeline: name of an installed pipeline, or a folder.

    Raises:
        BadInputError: spaCy or the pipeline is not installed.
    """
    try:
        import spacy

        parse = spacy.load(pipeline)
    except ImportError:
        raise BadInputError("--verbs needs spaCy: pip install 'prune[verbs]'") from None
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"--verbs {pipeline}: no such spaCy pipeline: {reason}") from None

    def find(text: str) -> list[tuple[int, int]]:
        parsed = parse(text)
        if len(parsed) and not parsed.has_annotation("POS"):
            raise BadInputError(f"--verbs {pipeline}: this spaCy pipeline finds no parts of speech")
        return [(t.idx, t.idx + len(t)) for t in parsed if t.pos_ == "VERB"]

    return find
