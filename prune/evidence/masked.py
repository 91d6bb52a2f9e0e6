"""Regions removed by leaving their visual tokens out of attention: nothing is encoded again.

A token also holds information that the vision tower mixed in from elsewhere in its frame; only
removing pixels before the encoder (`prune.evidence.pixels`) excludes it for certain.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prune.errors import RefusedError
from prune.evidence.scorer import ForcedScorer
from prune.evidence.tokens import VideoTokens


@dataclass
class MaskedScorer(ForcedScorer):
    """Scores sets of visible regions by keeping only their visual tokens.

    Attributes:
        tokens: the video tokens of the prompt.

    Raises:
        RefusedError: a region has no token of its own, or the tokens form no grid.
    """

    tokens: VideoTokens

    def __post_init__(self) -> None:
        missing = self.regions.count - len(np.unique(self.token_region))
        if missing:
            raise RefusedError(
                f"{missing} of {self.regions.count} regions are smaller than a visual token: "
                "align the regions to the token grid (--align), use fewer (--count), or remove "
                "pixels (--removal black)"
            )

    @cached_property
    def token_region(self) -> NDArray[np.int64]:
        """Region of every video token, `[V]`."""
        return self.tokens.regions(self.regions)

    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See `Scorer`."""
        return self.forcing.probabilities(visible[:, self.token_region], known=self.known)
