"""The flow map as data: effects of knockouts on the answers, as curves with bands.

Traces are summarised into it (`prune.trace.flow`), reports keep it, figures draw it.
"""

from dataclasses import dataclass
from typing import Literal

OWN_REPLIES = "own replies"
"""What was traced where it is anchors of the model's own replies."""

KNOCKOUT = "attention knockout"
"""How a flow is measured, as a rule."""


@dataclass(frozen=True)
class Curve:
    """Mean over cases at every knockout of a sweep, and its 95% band.

    Attributes:
        low, high: empty if there are too few videos for a band.
        n: number of cases.
    """

    label: str
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Panel:
    """Curves that are drawn together."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Flow:
    """Panels of one quantity, with what was measured on which samples.

    Attributes:
        counts: of samples and cases (`prune.trace.trace.Trace.counts`).
        quantity: what the curves show, with its unit.
        sweep: what a knockout cuts, such as "window 3".
        step: what the number of a knockout means, such as "layer (centre of the window)".
        which: what was traced: correct, wrong or all answers, or own replies.
        form: curves over layers, one per head, or a single knockout.
        method: how it was measured.
    """

    panels: tuple[Panel, ...]
    counts: dict[str, int]
    quantity: str
    sweep: str
    step: str
    which: str
    form: Literal["layers", "heads", "once"] = "layers"
    method: str = KNOCKOUT
