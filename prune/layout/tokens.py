"""Offsets of tokens in the text that they stand for."""

from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

WHOLE = 2048
"""Tokens that are decoded at once where no character is cut over several of them."""

STRIDE, OVERLAP = 48, 8
"""Elsewhere: tokens that are decoded together, and those decoded again in front of them.

The overlap is longer than any character that is cut over several tokens, and than what a tokenizer
changes at the beginning of a text.
"""


def token_starts(tokenizer: Any, ids: list[int] | np.ndarray) -> tuple[str, list[int]]:
    """The text of `ids`, and for every token the offset of its first character in it.

    A token that ends inside of a character starts where that character does. Takes time linear in
    the number of tokens.
    """

    # transformers looks at each token of a list.
    tokens = np.asarray(ids, np.int64)
    listed: list[int] = tokens.tolist()

    def decode(first: int, stop: int) -> str:
        text: str = tokenizer.decode(
            tokens[first:stop], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    if 0 < len(ids) <= WHOLE and (pieces := _pieces(tokenizer, listed)):
        text = decode(0, len(ids))
        # Nothing stands before the first one, which may lose its space.
        pieces[0] = pieces[0][sum(map(len, pieces)) - len(text) :]
        if "".join(pieces) == text:
            return text, [0, *accumulate(map(len, pieces[:-1]))]
    text, starts = "", []
    # Tokenizers of the SentencePiece kind drop a space when a token stands alone, so lengths are
    # those of ever longer pieces that begin at the same token.
    first = 0
    known = ""
    for at in range(0, len(ids), STRIDE):
        stop = min(at + STRIDE, len(ids))
        whole = decode(first, stop)
        pieces = _pieces(tokenizer, listed[at:stop])
        if not at and pieces:
            pieces[0] = pieces[0][len(pieces[0]) - len(whole) + sum(map(len, pieces[1:])) :]
        if pieces and known + "".join(pieces) == whole:
            for piece in pieces:
                starts.append(len(text))
                text += piece
            known = whole
        else:
            for index in range(at, stop):
                starts.append(len(text))
                piece = decode(first, index + 1).rstrip("\ufffd")
                if len(piece) >= len(known):
                    text += piece[len(known) :]
                    known = piece
        if known == whole:
            again = decode(max(0, stop - OVERLAP), stop)
            # Bytes of a character that was cut would change what the bytes behind them decode to.
            if "\ufffd" not in again:
                first, known = max(0, stop - OVERLAP), again
    last = decode(first, len(ids))
    return text + last[len(known) :], starts


_KNOWN: WeakKeyDictionary[Any, dict[int, str | None]] = WeakKeyDictionary()
"""What single tokens add to a text, by tokenizer; None for a part of a character."""


def _pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    """What each token adds to a text; empty if one of them is a part of a character."""
    known = _KNOWN.setdefault(tokenizer, {})
    for token in set(ids).difference(known):
        # Behind itself, since a token that stands alone may lose its space.
        once, twice = (
            tokenizer.decode(
                [token] * times, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            for times in (1, 2)
        )
        piece = twice[len(once) :]
        known[token] = None if "\ufffd" in piece else piece
    pieces = [piece for token in ids if (piece := known[token]) is not None]
    return pieces if len(pieces) == len(ids) else []
