"""Offsets of tokens in the text that they stand for."""

from typing import Any

STRIDE, OVERLAP = 16, 8
"""Tokens that are decoded together, and those decoded again in front of them.

The overlap is longer than any character that is cut over several tokens, and than what a tokenizer
changes at the beginning of a text.
"""


def token_starts(tokenizer: Any, ids: list[int]) -> tuple[str, list[int]]:
    """The text of `ids`, and for every token the offset of its first character in it.

    A token that ends inside of a character starts where that character does. Takes time linear in
    the number of tokens.
    """

    def decode(first: int, stop: int) -> str:
        text: str = tokenizer.decode(
            ids[first:stop], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    text, starts = "", []
    # Tokenizers of the SentencePiece kind drop a space when a token stands alone, so lengths are
    # those of ever longer pieces that begin at the same token.
    first = at = 0
    known = ""
    for index in range(len(ids)):
        starts.append(len(text))
        piece = decode(first, index + 1)
        whole = piece.rstrip("\ufffd")
        if len(whole) >= len(known):
            text += whole[len(known) :]
            known = whole
        if index + 1 - at >= STRIDE and whole == piece:
            again = decode(index + 1 - OVERLAP, index + 1)
            # Bytes of a character that was cut would change what the bytes behind them decode to.
            if "\ufffd" not in again:
                first, at, known = index + 1 - OVERLAP, index + 1, again
    last = decode(first, len(ids))
    return text + last[len(known) :], starts
