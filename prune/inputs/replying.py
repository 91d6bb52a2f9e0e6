"""`Replying`: by which replies open questions are traced, searched and measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Source = Literal["own", "reference"]
"""Whose reply an open question is followed by: the dense model's greedy one, or the data's."""

MAX_TOKENS = 64


@dataclass(frozen=True)
class Replying:
    """Which replies to open questions are traced, searched and measured on.

    Attributes:
        source: `reference` takes the sample's `reply`.
        max_tokens: longest reply; longer ones are cut.
    """

    source: Source = "own"
    max_tokens: int = MAX_TOKENS

    @property
    def header(self) -> dict[str, Any]:
        """For the header of a run."""
        return asdict(self)

    @staticmethod
    def of(header: Mapping[str, Any]) -> "Replying":
        """From the header of a run; the defaults if that has none."""
        return Replying(header.get("source", "own"), header.get("max_tokens", MAX_TOKENS))


DEFAULT_REPLYING = Replying()
