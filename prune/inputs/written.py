"""Prompts that prune wrote: which of their tokens are question and options, found by token ids.

A prompt's spans are known when its text is written and lost in the model inputs, which hold tensors
alone. They are kept here under the prompt's token ids, so that whoever runs the inputs later gives
every token the role it was written for.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

import numpy as np

MOST = 8192
"""Prompts that are remembered; the oldest ones go first."""


@dataclass(frozen=True)
class TokenSpans:
    """First and last-but-one token of each part, counted from the end of the prompt.

    Attributes:
        question: of the question.
        options: of each option.
        images: how many images the prompt shows in place of a video.
        alike: whether those are equally large, so that all have as many tokens.
        stem: of the question without the words around it.
        ends: of what separates each option from what follows; empty where a token holds both.
        turn: the first token of the last turn, behind earlier ones; None without those.
    """

    question: tuple[int, int]
    options: tuple[tuple[int, int], ...]
    images: int = 0
    alike: bool = True
    stem: tuple[int, int] = (0, 0)
    ends: tuple[tuple[int, int], ...] = ()
    turn: int | None = None


_prompts: OrderedDict[bytes, TokenSpans] = OrderedDict()
_lock = Lock()


def _key(ids: Sequence[int] | np.ndarray) -> bytes:
    return blake2b(np.asarray(ids, np.int64).tobytes(), digest_size=16).digest()


def remember(ids: Sequence[int], spans: TokenSpans) -> None:
    """Keep the spans of a prompt, by its token ids without padding."""
    key = _key(ids)
    with _lock:
        _prompts[key] = spans
        _prompts.move_to_end(key)
        while len(_prompts) > MOST:
            _prompts.popitem(last=False)


def recall(ids: Sequence[int] | np.ndarray) -> TokenSpans | None:
    """The spans of a prompt that prune wrote; None for every other prompt."""
    with _lock:
        return _prompts.get(_key(ids))
