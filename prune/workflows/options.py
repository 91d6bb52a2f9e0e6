"""Choices that workflows offer, as enumerations that load without torch."""

from enum import StrEnum

from prune.trace.patch_choices import Corruption, Site
from prune.trace.windows import Style

__all__ = ["Corruption", "Method", "Site", "Style", "Which"]


class Which(StrEnum):
    """Samples by whether the dense model answers them correctly."""

    CORRECT = "correct"
    WRONG = "wrong"
    ALL = "all"


class Method(StrEnum):
    """What ranks the candidates of a search: the knockouts of a trace, or learned gates."""

    TRACE = "trace"
    GATES = "gates"
