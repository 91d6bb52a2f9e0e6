"""What an explanation asks of a model: how likely is the reply when only some regions are seen."""

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
        """Probability of each reply token, and of whatever else the scorer was told to watch.

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
    """What scorers of a model at hand share: the reply is forced, and its passes are counted.

    Attributes:
        forcing: the prompt and its reply.
        regions: of the clip.
    """

    forcing: TeacherForcing
    regions: Regions

    @cached_property
    def known(self) -> PrefixCache:
        """What was computed so far of what sets have in common."""
        return self.forcing.nothing_known()

    @property
    def num_regions(self) -> int:
        """R."""
        return self.regions.count

    @property
    def forwards(self) -> int:
        """See `Scorer`."""
        return self.forcing.forwards
