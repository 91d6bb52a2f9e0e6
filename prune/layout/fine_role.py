"""Roles that a trace distinguishes and a plan does not: parts of the question and its options."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from prune.errors import BadInputError
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


@dataclass(frozen=True)
class FrameRole:
    """The tokens of one frame: its video tokens, and the timestamp that announces it.

    Attributes:
        number: of the frame, from 1; 0 is the last one.
    """

    number: int

    def index_of(self, count: int) -> int:
        """Its index among `count` frames; raises `BadInputError` if there is none."""
        if self.number > count:
            raise BadInputError(f"frame:{self.number}: the prompt has {count} frames")
        return (self.number or count) - 1


AnyRole = Role | FineRole | FrameRole

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

FRAMED = (Role.VIDEO, Role.TIMESTAMP)
"""Roles whose tokens belong to a frame."""

NUM_FINE = NUM_ROLES + len(FineRole)


Frames = Mapping[FrameRole, int]
"""By named frame its place among those of a prompt that are named: two names may be one frame."""

NO_FRAMES: Frames = MappingProxyType({})


def frame_number(place: int, role: Role) -> int:
    """The number of the video or timestamp tokens of a named frame, behind all `FineRole`s."""
    return NUM_FINE + 2 * place + (role == Role.TIMESTAMP)


def with_parts(roles: Iterable[AnyRole], frames: Frames = NO_FRAMES) -> list[int]:
    """The numbers of roles and of their parts, those of named frames included."""
    numbers: list[int] = []
    for role in roles:
        if isinstance(role, FrameRole):
            numbers += [frame_number(frames[role], part) for part in FRAMED]
            continue
        numbers.append(int(role))
        if isinstance(role, Role):
            numbers += map(int, PARTS.get(role, ()))
        if role in FRAMED:
            numbers += [frame_number(place, Role(role)) for place in set(frames.values())]
    return numbers


def is_fine(roles: Iterable[AnyRole]) -> bool:
    """Whether one of them is a part that no plan knows."""
    return any(not isinstance(role, Role) for role in roles)
