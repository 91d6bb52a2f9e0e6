"""The roles that partition a prompt."""

from enum import IntEnum


class Role(IntEnum):
    """Roles partition a prompt; their numbers index reach tables.

    `HISTORY` are the turns before the last question, `IMAGE` the tokens that stand for pictures.
    """

    SYSTEM = 0
    VIDEO = 1
    TIMESTAMP = 2
    BRIDGE = 3
    QUESTION = 4
    OPTIONS = 5
    TAIL = 6
    LAST = 7
    ANSWER = 8
    HISTORY = 9
    IMAGE = 10


NUM_ROLES = len(Role)
