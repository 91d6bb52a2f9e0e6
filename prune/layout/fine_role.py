"""Roles that a trace distinguishes and a plan does not: parts of the question and its options."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

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


@dataclass(frozen=True)
class OptionRole:
    """The tokens of one answer option, with what separates it from the next one.

    Attributes:
        number: of the option, from 1.
    """

    number: int


@dataclass(frozen=True)
class MarkedRole:
    """Tokens that were marked in a layout (`Segments.marks`), whatever their role.

    What marks them is a run of the model, or the boxes of a sample.

    Attributes:
        mark: its name, one of the constants of this module.
    """

    mark: str


SINK = "sink"
"""Attention sinks."""

CHOSEN = "option:chosen"
"""The option that the model answers, as an `OptionRole`."""

OBJECT, NAMED = "region:object", "region:named"
"""The video tokens whose cell overlaps a box: of any known object, or of one that the question or
its true answer names."""

CONTROL = "-control"
"""Ends the mark of as many other cells of the same frames, none of which overlaps such a box."""

REGIONS = (OBJECT, OBJECT + CONTROL, NAMED, NAMED + CONTROL)

NamedRole = FrameRole | OptionRole | MarkedRole
"""Roles whose tokens have another role as well."""

AnyRole = Role | FineRole | NamedRole

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


@dataclass(frozen=True)
class Named:
    """The numbers of tokens that have named roles, behind those of all `FineRole`s.

    Attributes:
        roles: those that are named.
        cells: for each number the role that its tokens have besides, and which of `roles`.
    """

    roles: tuple[NamedRole, ...] = ()
    cells: tuple[tuple[int, frozenset[int]], ...] = ()

    def of(self, role: NamedRole) -> list[int]:
        """The numbers of a named role's tokens."""
        place = self.roles.index(role)
        return [NUM_FINE + n for n, (_, names) in enumerate(self.cells) if place in names]

    def among(self, numbers: Iterable[int]) -> list[int]:
        """The numbers of tokens that have one of these roles besides."""
        known = set(numbers)
        return [NUM_FINE + n for n, (role, _) in enumerate(self.cells) if role in known]


NOTHING_NAMED = Named()


def with_parts(roles: Iterable[AnyRole], named: Named = NOTHING_NAMED) -> list[int]:
    """The numbers of roles and of their parts, those of named roles included."""
    numbers: list[int] = []
    for role in roles:
        if isinstance(role, NamedRole):
            numbers += named.of(role)
            continue
        own = [int(role), *map(int, PARTS.get(role, ()) if isinstance(role, Role) else ())]
        numbers += own + named.among(own)
    return sorted(set(numbers))


def is_fine(roles: Iterable[AnyRole]) -> bool:
    """Whether one of them is a part that no plan knows."""
    return any(not isinstance(role, Role) for role in roles)
