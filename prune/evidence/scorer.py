"""The interface of scorers: the probability of a reply when only some regions are visible."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prune.evidence.forced import TeacherForcing
from prune.evidence.prefix_cache import PrefixCache
from prune.evidence.regions import Regions


class Scorer(Protocol):
    """Scores sets of visible regions; one file for every way to remove the others."""

    @property
    def num_regions(self) -> int:
        """R."""
        ...

    @property
    def forwards(self) -> int:
        """Passes through the text model so far, each row of a batch one."""
        ...

    def probabilities(self, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probability of each reply token, followed by the scorer's alternatives.

        Args:
            visible: bool `[N, R]`, which regions are seen.

        Returns:
            `[N, K]`.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        ...


@dataclass
class ForcedScorer:
    """Base of the scorers of a local model: it forces the reply, and counts the passes.

    Attributes:
        forcing: the prompt and its reply.
        regions: of the clip.
    """

    forcing: TeacherForcing
    regions: Regions

    @cached_property
    def known(self) -> PrefixCache:
        """The cache of prefixes that sets share."""
        return self.forcing.nothing_known()

    @property
    def num_regions(self) -> int:
        """R."""
        return self.regions.count

    @property
    def forwards(self) -> int:
        """See `Scorer`."""
        return self.forcing.forwards
