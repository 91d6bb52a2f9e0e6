"""Where the anchors of a reply are: matches of a regular expression, or its verbs."""

import re
from collections.abc import Callable
from typing import Any

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

    Raises:
        BadInputError: as in `tagger`.
    """
    parse = tagger(pipeline, "--verbs")
    return lambda text: [(t.idx, t.idx + len(t)) for t in parse(text) if t.pos_ == "VERB"]


def tagger(pipeline: str, option: str) -> Callable[[str], Any]:
    """A spaCy pipeline: from a text its tokens, with their parts of speech in `pos_`.

    Args:
        pipeline: name of an installed pipeline, or a folder.
        option: of the command that asks for it, for errors.

    Raises:
        BadInputError: spaCy or the pipeline is not installed; when called, that it finds no parts
            of speech.
    """
    try:
        import spacy

        parse = spacy.load(pipeline)
    except ImportError:
        raise BadInputError(f"{option} needs spaCy: pip install 'prune[verbs]'") from None
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInputError(f"{option} {pipeline}: no such spaCy pipeline: {reason}") from None

    def tagged(text: str) -> Any:
        parsed = parse(text)
        if len(parsed) and not parsed.has_annotation("POS"):
            raise BadInputError(
                f"{option} {pipeline}: this spaCy pipeline finds no parts of speech"
            )
        return parsed

    return tagged
