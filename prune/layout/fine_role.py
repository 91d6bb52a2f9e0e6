"""Roles that a trace distinguishes and a plan does not: parts of the question and its options."""

from collections.abc import Iterable
from enum import IntEnum

from prune.layout.role import NUM_ROLES, Role


class FineRole(IntEnum):
    """Parts of roles, by what is known of a question that prune wrote.

    `TRUE_OPTION` and `FALSE_OPTIONS` are the options' text, an `END` what separates an option from
    what follows it; that of the last option is part of the tail. `STEM` is the question without the
    words around it, `INSTRUCTION` the tail without such an end.
    """

    TRUE_OPTION = NUM_ROLES
    FALSE_OPTIONS = NUM_ROLES + 1
    TRUE_END = NUM_ROLES + 2
    FALSE_END = NUM_ROLES + 3
    LAST_TRUE_END = NUM_ROLES + 4
    LAST_FALSE_END = NUM_ROLES + 5
    STEM = NUM_ROLES + 6
    INSTRUCTION = NUM_ROLES + 7


AnyRole = Role | FineRole

PARTS: dict[Role, tuple[FineRole, ...]] = {
    Role.OPTIONS: (
        FineRole.TRUE_OPTION, FineRole.FALSE_OPTIONS, FineRole.TRUE_END, FineRole.FALSE_END,
    ),
    Role.QUESTION: (FineRole.STEM,),
    Role.TAIL: (FineRole.LAST_TRUE_END, FineRole.LAST_FALSE_END, FineRole.INSTRUCTION),
}  # fmt: skip
"""The parts of each role that has some."""

WHOLE: dict[AnyRole, Role] = {part: role for role, parts in PARTS.items() for part in parts}
"""The role that each part is one of."""

NUM_FINE = NUM_ROLES + len(FineRole)


def with_parts(roles: Iterable[AnyRole]) -> list[int]:
    """Roles, and the parts of those that have some."""
    return [
        int(each)
        for role in roles
        for each in (role, *(PARTS.get(role, ()) if isinstance(role, Role) else ()))
    ]


def is_fine(roles: Iterable[AnyRole]) -> bool:
    """Whether one of them is a part that no plan knows."""
    return any(isinstance(role, FineRole) for role in roles)
