"""What activation patching replaces, and by what: choices that load without torch."""

from enum import StrEnum


class Site(StrEnum):
    """Which activations of a layer are replaced.

    `states` are the residual stream behind the layer, `attention` what all heads read, before the
    output projection, `heads` the same of one head at a time, `mlp` what the MLP adds.
    """

    STATES = "states"
    ATTENTION = "attention"
    HEADS = "heads"
    MLP = "mlp"


class Corruption(StrEnum):
    """What the other run sees in place of the clip.

    `shuffled` and `reversed` are the same frames in another order, at the same times; `other` is
    the clip of another sample.
    """

    SHUFFLED = "shuffled"
    REVERSED = "reversed"
    OTHER = "other"
