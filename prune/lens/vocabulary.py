"""Vocabularies of a lens: words in groups such as spatial and temporal, and their tokens."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.errors import BadInputError
from prune.inputs.samples import Sample
from prune.inputs.tagger import tagger

EMBEDDED = Path(__file__).parent / "vocabularies"
"""Vocabularies known by name: `map-the-flow` (2510.13251, section 3.3) and `tiny`."""

MIN_LETTERS = 3
"""Shorter pieces of a word, such as an ending, do not identify it."""

SPACY = "spacy:"
PARTS = {
    "spatial": ("NOUN", "PROPN", "ADJ"),
    "temporal": ("VERB", "ADV", "ADP"),
}
"""Parts of speech: things, and events (with their "up", "down", "away")."""

Groups = Mapping[str, Sequence[str]]
"""Words by the name of their group."""

_FUNCTION_WORDS = frozenset(
    "a an and are as at be been being but by can did do does for from had has have he her him his "
    "how i if in into is it its many more most much no not of off on one or other she so some such "
    "than that the their them then there these they this those to very was way we were what when "
    "where which who whom whose why will with would yes you your".split()
)


def load_groups(source: str | Path | None, samples: Sequence[Sample]) -> Groups:
    """A vocabulary from a file, by name, or from the data.

    Args:
        source: a JSON file `{"group": ["word", ...], ...}`; the name of an embedded vocabulary;
            `spacy:PIPELINE` for the `spatial` and `temporal` words of the samples, by their part of
            speech; or None for the words of their `questions`, and of their `options` alone.
        samples: the data set.

    Raises:
        BadInputError: the file cannot be read, a word is in two groups, or the samples have none.
    """
    groups = _from_samples(source, samples)
    if groups is None:
        return _read_groups(str(source))
    if not groups:
        raise BadInputError("the samples hold no words to look for: give a file of words")
    return groups


def _read_groups(source: str) -> Groups:
    known = {path.stem: path for path in sorted(EMBEDDED.glob("*.json"))}
    path = known.get(source, Path(source))
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{source}: neither a JSON file of words nor one of {', '.join(known)}: {error}"
        ) from None
    if not (isinstance(groups, dict) and groups and all(map(_is_words, groups.values()))):
        raise BadInputError(f'{source}: expected {{"group": ["word", ...], ...}}')
    words = [word for group in groups.values() for word in group]
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise BadInputError(f"{source}: {', '.join(twice)}: a word can be listed only once")
    return groups


def _is_words(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(w, str) and w.strip() for w in value)
    )


def _from_samples(source: str | Path | None, samples: Sequence[Sample]) -> Groups | None:
    """The words of the data set, if the source asks for them."""
    texts = [s.question for s in samples], [option for s in samples for option in s.options]
    if source is None:
        asked, offered = (_words(" ".join(part)) for part in texts)
        groups = {"questions": asked, "options": offered - asked}
    elif str(source).startswith(SPACY):
        parse = tagger(str(source).removeprefix(SPACY), "--words")
        groups = {name: set() for name in PARTS}
        for text in (*texts[0], *texts[1]):
            for token in parse(text.lower()):
                for name, parts in PARTS.items():
                    if token.pos_ in parts:
                        groups[name] |= _words(token.text)
        # A word that occurs as a noun and as a verb ("a drink") is left out.
        both = groups["spatial"] & groups["temporal"]
        groups = {name: words - both for name, words in groups.items()}
    else:
        return None
    return {name: sorted(words) for name, words in groups.items() if words}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{2,}", text.lower())) - _FUNCTION_WORDS


@dataclass(frozen=True)
class Vocabulary:
    """Words, and the tokens by which they are recognised.

    Attributes:
        words: `(group, word)` of each word.
        token: index in `words` by token id.
    """

    words: tuple[tuple[str, str], ...]
    token: Mapping[int, int]

    @staticmethod
    def of(groups: Groups, tokenizer: Any) -> "Vocabulary":
        """Find the tokens of words.

        A word is recognised by the token that spells it, with or without a space in front and a
        capital letter, and where it is spelt by several, by each of them that has at least
        `MIN_LETTERS` letters: not by the first alone, which other words may share. A token that
        could be of several words stands for the one that it spells whole, or else for none.
        """
        words = tuple((group, word) for group, listed in groups.items() for word in listed)
        whole: dict[int, set[int]] = defaultdict(set)
        part: dict[int, set[int]] = defaultdict(set)
        for index, (_, word) in enumerate(words):
            for spelling in {word, word.capitalize()}:
                for text in (spelling, f" {spelling}"):
                    ids = tokenizer.encode(text, add_special_tokens=False)
                    pieces = [i for i in ids if tokenizer.decode([i]).strip()]
                    for piece in pieces:
                        if len(pieces) == 1:
                            whole[piece].add(index)
                        elif sum(map(str.isalpha, tokenizer.decode([piece]))) >= MIN_LETTERS:
                            part[piece].add(index)
        claims = {**part, **whole}
        return Vocabulary(words, {t: min(c) for t, c in claims.items() if len(c) == 1})

    @property
    def silent(self) -> list[str]:
        """Words that share all of their tokens with others, so they are never counted."""
        heard = set(self.token.values())
        return [word for index, (_, word) in enumerate(self.words) if index not in heard]
