"""Leaks, before and after: the ways from the video to the answer that a plan closes."""

from dataclasses import dataclass

from prune.layout.pathways import Reach, dense_reach
from prune.layout.segments import Role
from prune.plan.liveness import Leak, leaks
from prune.results.export_result import Result

MOST_ROLES = 3
"""Ways through more roles than this are counted, not listed."""


@dataclass(frozen=True)
class Way:
    """One way that the dense model has.

    Attributes:
        name: for example `video → tail → last`.
        layers: the last layer (1-based) in which it may leave the video, under the plan; None where
            the plan closes it.
    """

    name: str
    layer: int | None


@dataclass(frozen=True)
class Ways:
    """All of them.

    Attributes:
        shortest: those that are listed.
        before, after: how many the dense model has, and how many stay open.
        last: layer (1-based) after which no way leaves the video; None where all are closed.
    """

    shortest: tuple[Way, ...]
    before: int
    after: int
    last: int | None


def ways(reach: Reach, result: Result) -> Ways:
    """The ways that prompts like the report's have, under a reach table `[L, G, R, R]`."""
    there = {Role[name.upper()] for name in result.prompt}

    def open_in(table: Reach) -> dict[tuple[Role, ...], Leak]:
        return {leak.roles: leak for leak in leaks(table) if there.issuperset(leak.roles)}

    dense, left = open_in(dense_reach(len(reach))), open_in(reach)
    until = {roles: leak.layers[0][-1] + 1 for roles, leak in left.items()}
    return Ways(
        tuple(
            Way(" → ".join(role.name.lower() for role in roles), until.get(roles))
            for roles in dense
            if len(roles) <= MOST_ROLES
        ),
        len(dense),
        len(left),
        max(until.values(), default=None),
    )
