"""`Screening`: knockouts ranked by gradients, compared with exact knockouts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

SCHEMA_VERSION = 1
FOLDER = "screen"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScreenCandidate:
    """A pathway, knocked out in the window around a layer (0-based)."""

    pathway: str
    layer: int


@dataclass(frozen=True)
class Screening:
    """The ranking of a screen, and the exact knockouts that verify it.

    Changes are of the answer's log-probability, in nats; strengths are means over samples of their
    sizes, so that harm to one task and help to another do not cancel.

    Attributes:
        header: identity of model, data and settings.
        candidates: every one, the strongest first.
        predicted: signed mean change and strength of each, `[C, 2]`.
        exact: the same by exact knockout, NaN where none was run, `[C, 2]`.
        top: how many of the first were to be run.
        heads: predicted strength in a single layer and KV head, `[P, L, Hkv]`.
        counts: `samples`, `screened` and `failed`.
        failed: reason by id of each sample that could not be used.
    """

    header: dict[str, Any]
    candidates: list[ScreenCandidate]
    predicted: Floats
    exact: Floats
    top: int
    heads: Floats
    counts: dict[str, int]
    failed: dict[str, str]

    @property
    def verified(self) -> NDArray[np.bool_]:
        """Which candidates were run exactly, bool `[C]`."""
        return ~np.isnan(self.exact[:, 0])

    def grid(self) -> Floats:
        """Predicted strength of every pathway around every layer, `[P, L]`."""
        names = self.header["pathways"]
        grid = np.zeros((len(names), self.heads.shape[1]))
        for candidate, (_, strength) in zip(self.candidates, self.predicted, strict=True):
            grid[names.index(candidate.pathway), candidate.layer] = strength
        return grid

    def correlation(self) -> dict[str, float | None]:
        """Spearman's rank correlation with exact knockout, over the verified candidates."""
        rank = {}
        for column, name in enumerate(("change", "strength")):
            pair = (table[self.verified, column] for table in (self.predicted, self.exact))
            value = float(stats.spearmanr(*pair).statistic)
            rank[name] = None if np.isnan(value) else round(value, 4)
        return rank

    def agreement(self) -> str:
        """How many candidates were run exactly and how well the ranking agrees, in words."""
        rank = self.correlation()["strength"]
        agrees = "too few to compare" if rank is None else f"rank correlation {rank:.2f}"
        return f"{self.verified.sum()} of {len(self.candidates)} candidates run exactly: {agrees}"

    def missed(self) -> list[ScreenCandidate]:
        """Verified candidates among the `top` strongest by exact knockout, but not by the screen.

        If not all were verified, the others are represented by those drawn from them.
        """
        strength = np.where(self.verified, self.exact[:, 1], -np.inf)
        strongest = np.argsort(-strength, kind="stable")[: self.top]
        return [self.candidates[i] for i in strongest if i >= self.top]
