"""Roles that a run of the model or a sample's boxes tell: the answered option, sinks, regions."""

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from prune.layout.fine_role import CHOSEN, REGIONS, SINK, AnyRole, MarkedRole
from prune.trace.dense_pass import DensePass
from prune.trace.regions import Shown, region
from prune.trace.sinks import sinks


def find_marked(
    dense: DensePass,
    roles: Iterable[AnyRole],
    choice: int | None = None,
    shown: Shown | None = None,
) -> None:
    """Mark the tokens of all `MarkedRole`s among some roles in the layout of a recorded pass.

    A role of which the prompt has nothing stays unmarked, and is refused where it is used.

    Args:
        dense: the pass, whose layout is marked in place.
        roles: any.
        choice: index of the option that the model answers; None without options.
        shown: the clip with its boxes, if there are any.

    Raises:
        BadInputError: no token shows a region.
    """
    layout = dense.replay.segments
    marks: dict[str, Tensor] = {}
    for mark in sorted(role.mark for role in set(roles) if isinstance(role, MarkedRole)):
        if mark == SINK:
            marks[mark] = sinks(dense)
        elif mark == CHOSEN and choice is not None:
            marks[mark] = layout.option[0] == choice
        elif mark in REGIONS and shown is not None:
            marks[mark] = region(mark, shown, layout)
    if marks:
        dense.replay = replace(dense.replay, segments=replace(layout, marks=marks))
