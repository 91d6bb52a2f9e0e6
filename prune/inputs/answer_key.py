"""The true option of a question, from the ways in which data sets write it."""

import re
import unicodedata
from collections.abc import Sequence

from prune.inputs.prompts import letter

_LABEL = re.compile(r"\(?([A-Z])[).:](?=\s|$)")


def answer_index(answer: str | int, options: Sequence[str]) -> int:
    """The index of the true option.

    Args:
        answer: the option's index from 0; its text, in any Unicode form; its letter, such as `B`,
            `(B)` or `B.`; or both, such as `(B) left`. Text comes before letters.
        options: all of them.

    Raises:
        ValueError: it is none of the options, or several, or the options' own letters are in
            another order.
    """
    if isinstance(answer, int):
        if answer >= len(options):
            raise ValueError(f"the answer {answer} is none of {len(options)} options")
        return answer
    if list(options).count(answer) == 1:
        return list(options).index(answer)
    said, texts = _plain(answer), [_plain(option) for option in options]
    if texts.count(said) == 1:
        return texts.index(said)
    lettered = [i for i, text in enumerate(texts) if said in _lettered(i, text)]
    if len(lettered) != 1 or said in texts:
        raise ValueError(
            f"the answer {answer!r} must be exactly one of the options {list(options)}, its letter "
            f"(A to {letter(len(options) - 1)}), or its index without quotes"
        )
    label = _LABEL.match(options[lettered[0]])
    if label is not None and label[1] != letter(lettered[0]):
        raise ValueError(
            f"the answer {answer!r} is unclear: option {letter(lettered[0])} begins with "
            f"{label[0]!r}: write its text"
        )
    return lettered[0]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _lettered(index: int, text: str) -> set[str]:
    """The ways to name an option by its letter."""
    own = letter(index)
    labels = (f"({own})", f"{own})", f"{own}.", f"{own}:")
    return {own, *labels, *(f"{label} {text}" for label in labels)}
