"""spaCy pipelines that tag the words of questions and replies."""

from collections.abc import Callable
from typing import Any

from prune.errors import BadInputError, install_extra


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
        raise BadInputError(f"{option} needs spaCy: {install_extra('verbs')}") from None
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
