"""Leaks before and after pruning: the paths from the video to the answer that a plan closes."""

from dataclasses import dataclass

from prune.layout.reach import Reach, dense_reach
from prune.layout.segments import Role
from prune.plan.liveness import Leak, leaks
from prune.results.export_result import Result

MOST_ROLES = 3
"""Paths through more roles than this are counted, not listed."""


@dataclass(frozen=True)
class LeakPath:
    """One path from the video to the answer in the dense model.

    Attributes:
        name: for example `video → tail → last`.
        layer: the last layer (1-based) in which it may leave the video under the plan; None if the
            plan closes it.
    """

    name: str
    layer: int | None


@dataclass(frozen=True)
class LeakPaths:
    """All paths from the video to the answer.

    Attributes:
        shortest: those that are listed.
        before, after: number in the dense model, and number that stay open.
        last: layer (1-based) after which no path leaves the video; None if all are closed.
    """

    shortest: tuple[LeakPath, ...]
    before: int
    after: int
    last: int | None


def unseen(reach: Reach) -> tuple[str, ...]:
    """Which of video, question and options no path leads from to the answer under a reach table."""
    asked = (Role.VIDEO, Role.QUESTION, Role.OPTIONS)
    return tuple(role.name.lower() for role in asked if not leaks(reach, source=role))


def leak_paths(reach: Reach, result: Result) -> LeakPaths:
    """The paths in prompts like the report's, under a reach table `[L, G, R, R]`."""
    there = {Role[name.upper()] for name in result.prompt}

    def open_in(table: Reach) -> dict[tuple[Role, ...], Leak]:
        return {leak.roles: leak for leak in leaks(table) if there.issuperset(leak.roles)}

    dense, left = open_in(dense_reach(len(reach))), open_in(reach)
    until = {roles: leak.layers[0][-1] + 1 for roles, leak in left.items()}
    return LeakPaths(
        tuple(
            LeakPath(" → ".join(role.name.lower() for role in roles), until.get(roles))
            for roles in dense
            if len(roles) <= MOST_ROLES
        ),
        len(dense),
        len(left),
        max(until.values(), default=None),
    )
