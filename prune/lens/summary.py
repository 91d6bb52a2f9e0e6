"""Arrays over the samples of a survey, for figures and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.lens.survey import READINGS

Record = dict[str, Any]
Floats = NDArray[np.float64]


def answer_probabilities(records: Sequence[Record], reading: str) -> tuple[Floats, Floats]:
    """Probability of the true letter and the mean of the false ones, in percent: two `[N, L]`."""
    true, false = [], []
    for record in records:
        p = 100 * np.array(record[reading]["p"])
        true.append(p[:, record["true"]])
        false.append(np.delete(p, record["true"], axis=1).mean(1))
    return np.array(true), np.array(false)


def exit_layers(records: Sequence[Record], reading: str) -> tuple[list[int], list[int]]:
    """The first and the settled layer (1-based) of every sample."""
    first, settled = ([record[reading][key] for record in records] for key in ("first", "settled"))
    return first, settled


@dataclass(frozen=True)
class WordCounts:
    """Hits on video tokens over samples.

    Attributes:
        words: `(group, word)` of each word.
        hits: int64 `[L + 1, W]`.
        tokens: video tokens looked at in each layer.
    """

    words: tuple[tuple[str, str], ...]
    hits: NDArray[np.int64]
    tokens: int

    def of_group(self, group: str) -> list[int]:
        """Columns of a group's words."""
        return [index for index, (name, _) in enumerate(self.words) if name == group]

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in order."""
        return list(dict.fromkeys(group for group, _ in self.words))


def word_counts(
    records: Sequence[Record], groups: dict[str, list[str]], num_layers: int
) -> WordCounts:
    """Sum the hits of every word over samples."""
    words = tuple((group, word) for group, listed in groups.items() for word in listed)
    hits = np.zeros((num_layers + 1, len(words)), np.int64)
    for record in records:
        for index, (_, word) in enumerate(words):
            if word in record["words"]:
                hits[:, index] += record["words"][word]
    return WordCounts(words, hits, sum(record["video_tokens"] for record in records))


def mean_curves(records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
    """Mean probabilities by layer for each reading, for the JSON."""
    curves = {}
    for reading in READINGS:
        true, false = answer_probabilities(records, reading)
        curves[reading] = {"true": true.mean(0).tolist(), "false": false.mean(0).tolist()}
    return curves
