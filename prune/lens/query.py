"""The prompt tokens of a query word."""

import re
from typing import Any

import torch
from torch import Tensor

from prune.errors import UsageError
from prune.layout.segments import Role, Segments
from prune.layout.tokens import token_starts

LAST, WORD = "last", "word:"


def query_rows(processor: Any, inputs: Any, segments: Segments, query: str) -> Tensor:
    """The tokens of a query in a prompt, int64 `[Q]`, ascending.

    Args:
        processor, inputs, segments: the prompt, a batch of one.
        query: `last`; a position in the prompt (negative: from its end); or a word, of which the
            first occurrence after the video is taken, as a whole word where there is one. A word
            that is `last` or a number is `word:last`, `word:3`.

    Raises:
        UsageError: the prompt has no such word or position.
    """
    length = segments.shape[1]
    if query == LAST:
        return torch.tensor([length - 1])
    if re.fullmatch(r"-?\d+", query):
        position = int(query)
        if not -length <= position < length:
            raise UsageError(f"--query {query}: the prompt has {length} tokens")
        return torch.tensor([position % length])
    video = (segments.role[0] == Role.VIDEO).nonzero()[:, 0]
    first = int(video.max()) + 1 if len(video) else 0
    ids = inputs["input_ids"][0, first:].tolist()
    text, starts = token_starts(processor.tokenizer, ids)
    word = re.escape(query.removeprefix(WORD).strip())
    found = re.search(rf"\b{word}\b", text, re.IGNORECASE) or re.search(word, text, re.IGNORECASE)
    if not word or found is None:
        raise UsageError(f"--query {query!r}: not in the prompt after the video: {text.strip()!r}")
    stops = [*starts[1:], len(text)]
    rows = [
        first + index
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
        if start < found.end() and stop > found.start()
    ]
    return torch.tensor(rows)
