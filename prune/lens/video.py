"""Logit lens on video tokens (Map the Flow, 2510.13251, section 3.3): the word of each state."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.lens.states import Lens
from prune.lens.vocabulary import Vocabulary

MAX_LOGITS = 2**25
"""Logits held at once: bounds memory where vocabulary and clip are long."""


@dataclass
class VideoWords:
    """The likeliest tokens of every video token after every layer; a `prune.lens.states.Visit`.

    Attributes:
        lens: how states are read.
        positions: columns of the video tokens in the prompt, int64 `[N]`.
        k: how many tokens are kept.
        ids: for layers 0 to L, the token ids, likeliest first, int64 `[N, k]`.
        probabilities: their probabilities over the whole vocabulary, float32 `[N, k]`.
    """

    lens: Lens
    positions: Tensor
    k: int = 5
    ids: list[Tensor] = field(default_factory=list)
    probabilities: list[Tensor] = field(default_factory=list)

    def __call__(self, layer: int, states: Tensor) -> None:
        """See the states of one prompt `[1, S, d]`."""
        rows = states[0, self.positions.to(states.device)]
        parts = []
        for part in rows.split(max(1, MAX_LOGITS // len(self.lens.weight))):
            logits = self.lens.logits(layer, part)
            top = logits.topk(self.k, -1)
            p = (top.values - logits.logsumexp(-1, keepdim=True)).exp()
            parts.append((top.indices.cpu(), p.cpu()))
        self.ids.append(torch.cat([ids for ids, _ in parts]))
        self.probabilities.append(torch.cat([p for _, p in parts]))

    def words(self, vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Index of the word that each likeliest token stands for, or -1: int64 `[L + 1, N]`."""
        index = np.full(len(self.lens.weight), -1)
        index[list(vocabulary.token)] = list(vocabulary.token.values())
        words: NDArray[np.int64] = index[torch.stack(self.ids)[..., 0].numpy()]
        return words


def count_words(words: NDArray[np.int64], num_words: int) -> NDArray[np.int64]:
    """How many video tokens say each word, by layer: int64 `[L + 1, W]` from `[L + 1, N]`."""
    return np.stack([np.bincount(row[row >= 0], minlength=num_words) for row in words])


def layer_bins(num_layers: int, size: int) -> list[range]:
    """Layers 1 to L in disjoint bins of `size`, the last one perhaps shorter; 1-based."""
    return [range(b, min(b + size, num_layers + 1)) for b in range(1, num_layers + 1, size)]


def frequencies(
    counts: NDArray[np.int64], bins: Sequence[range], min_hits: int
) -> NDArray[np.float64]:
    """Where over the layers each word is said: float64 `[bins, W]`, columns sum to 1.

    Hits are divided by the layers of a bin, so that a short bin does not look like few hits.

    Args:
        counts: of `count_words`, `[L + 1, W]`.
        bins: of `layer_bins`.
        min_hits: words said less often over layers 1 to L are NaN.
    """
    rate = np.stack([counts[list(layers)].mean(0) for layers in bins])
    enough = counts[1:].sum(0) >= max(1, min_hits)
    total = np.where(enough, rate.sum(0), np.nan)
    return rate / total
