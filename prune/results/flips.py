"""Samples that two models answer differently."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flip:
    """One sample whose most likely option changed.

    Attributes:
        true, dense, pruned: index of the correct option, and of those that were chosen.
        p_dense, p_pruned: probability of every option.
    """

    id: str
    task: str
    true: int
    dense: int
    pruned: int
    p_dense: tuple[float, ...]
    p_pruned: tuple[float, ...]

    @property
    def lost(self) -> bool:
        """Whether the dense model is correct."""
        return self.dense == self.true

    @property
    def won(self) -> bool:
        """Whether the pruned model is correct."""
        return self.pruned == self.true

    @property
    def confidence(self) -> float:
        """Probability that the pruned model gives to its option."""
        return self.p_pruned[self.pruned]


@dataclass(frozen=True)
class FlipDetail:
    """What was asked in a flipped sample.

    Attributes:
        frames: JPEGs as data URIs, in order; empty if the sample is listed without frames.
    """

    id: str
    question: str
    options: tuple[str, ...]
    frames: tuple[str, ...]
