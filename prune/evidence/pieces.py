"""Pieces of a prompt and its reply: regions of the video beside words of turns and reply."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prune.errors import RefusedError
from prune.evidence.case import Case
from prune.evidence.regions import Regions
from prune.evidence.reply import token_texts
from prune.layout.segments import Role

Source = Literal["video", "history", "question", "reply"]
SOURCES: tuple[Source, ...] = ("video", "history", "question", "reply")
"""What an answer may rest on: what is seen, the turns before the question, what is asked with its
options, and its own words."""


@dataclass(frozen=True)
class Pieces:
    """What can be hidden from the tokens behind it.

    Attributes:
        texts: a word, or the name of a region.
        sources: what each is part of.
        hides: bool `[R, S]`, the tokens of each piece in the prompt and its reply.
    """

    texts: tuple[str, ...]
    sources: tuple[Source, ...]
    hides: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """R."""
        return len(self.texts)

    def of(self, source: Source) -> NDArray[np.bool_]:
        """Which pieces are part of a source, bool `[R]`."""
        return np.array([one == source for one in self.sources])


def pieces_of(case: Case, regions: Regions | None) -> Pieces:
    """Regions of the video, or its frames, and the words of earlier turns, question and reply.

    Of the reply, the words before the last target token; it is predicted from the state of the
    token before it, which nothing hides from itself.

    Args:
        case: the prompt and its reply.
        regions: of the video, which follow its tokens; None for its frames (temporal units).
    """
    segments, video = case.forcing.replay.segments, case.forcing.video.numpy()
    length = segments.shape[1]
    role = segments.role[0].numpy()
    if regions is None:
        region = segments.frame[0].numpy()[video].astype(np.int64)
    else:
        region = case.tokens.regions(regions)
    if len(np.unique(region)) != int(region.max()) + 1:
        raise RefusedError("regions are smaller than a visual token: use fewer (--count)")
    groups: list[tuple[str, Source, NDArray[np.intp]]] = [
        (f"region {r + 1}" if regions else f"frame {r + 1}", "video", video[region == r])
        for r in range(int(region.max()) + 1)
    ]
    ids = [*case.inputs["input_ids"][0].tolist(), *case.target.ids]
    earlier = np.flatnonzero(role == Role.HISTORY)
    asked = np.flatnonzero((role == Role.QUESTION) | (role == Role.OPTIONS))
    start = length - len(case.target.ids)
    said = np.arange(start, start + max(case.target.positions))
    for source, tokens in (("history", earlier), ("question", asked), ("reply", said)):
        texts = token_texts(case.processor, [ids[i] for i in tokens])
        for text, first, stop in _words(texts):
            groups.append((text, source, tokens[first:stop]))  # type: ignore[arg-type]
    hides = np.zeros((len(groups), length), bool)
    for row, (_, _, tokens) in enumerate(groups):
        hides[row, tokens] = True
    return Pieces(tuple(g[0] for g in groups), tuple(g[1] for g in groups), hides)


def _words(texts: list[str]) -> list[tuple[str, int, int]]:
    """Words from the texts of tokens: each with its first token and the one behind its last."""
    starts = [i for i, text in enumerate(texts) if not i or text[:1].isspace()]
    found = [
        ("".join(texts[a:b]).strip(), a, b) for a, b in pairwise([*starts, len(texts)]) if a < b
    ]
    return [word for word in found if word[0]]
