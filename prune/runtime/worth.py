"""How many dead states are worth skipping on a device, where the skipping itself takes time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Worth:
    """The least that has to be dead for a layer to skip it.

    Attributes:
        drop: tokens that leave before a layer, times the layers to come.
        narrow: tokens of one layer that need K and V alone.
    """

    drop: float
    narrow: float


EVERY = Worth(0, 0)
"""Skip every dead state, whatever that takes."""
