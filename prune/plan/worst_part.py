"""The score of the same samples in several parts, such as numbers of frames: each has to hold."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from prune.plan.budget import Score

_SUMS = ("samples", "open", "absent", "present")
_LARGEST = ("kl", "spread", "worst", "agreement_spread", "agreement_worst")
"""Fields of which a budget limits the largest over parts."""


@dataclass(frozen=True)
class WorstPart(Score):
    """A score whose loss is that of the part that loses most.

    A mean over parts would let one of them bear what the others do not lose: a plan may be
    harmless at 16 frames and harmful at 4.

    Attributes:
        parts: the scores of the parts, in the order of the dense model's.
    """

    parts: tuple[Score, ...] = ()

    @staticmethod
    def of(parts: Sequence[Score]) -> "WorstPart":
        """The score of parts: counts are sums, losses the largest, anything else a mean."""
        found: dict[str, Any] = {
            field.name: _together(field.name, [getattr(part, field.name) for part in parts])
            for field in fields(Score)
            if field.name != "videos"
        }
        videos = [part.videos for part in parts if part.videos is not None]
        return WorstPart(**found, videos=max(videos, default=None), parts=tuple(parts))

    @property
    def given(self) -> int:
        """See `Score.given`; of the smallest part."""
        return min(part.given for part in self.parts)

    def lost(self, dense: Score) -> float:
        """See `Score.lost`; of the part that loses most."""
        return max(one.lost(before) for one, before in self._beside(dense))

    def disagreed(self, dense: Score) -> float:
        """See `Score.disagreed`; of the part that disagrees most."""
        return max(one.disagreed(before) for one, before in self._beside(dense))

    def _beside(self, dense: Score) -> list[tuple[Score, Score]]:
        assert isinstance(dense, WorstPart), "both scores are of the same parts"
        return list(zip(self.parts, dense.parts, strict=True))


def _together(name: str, values: Sequence[float]) -> float:
    if name in _SUMS:
        return sum(values)
    return max(values) if name in _LARGEST else sum(values) / len(values)
