"""What is asked when, as shares of the training time."""

from dataclasses import dataclass

import tiny_recipe  # noqa: F401
from slots import Slots

FRAMES = (4, 8, 8, 16)
OPEN, CHOICE = 24, 64
"""Tokens of the longest open question with its answer, and of the longest choice."""


@dataclass(frozen=True)
class Lesson:
    """Questions of every clip, until `until` of the training time has passed."""

    name: str
    until: float
    slots: tuple[Slots, ...]


LESSONS = (
    Lesson("lookup", 0.25, (Slots("lookup", 10, OPEN),)),
    Lesson("open", 0.5, (Slots("lookup", 4, OPEN), Slots("open", 6, OPEN))),
    Lesson(
        "choices",
        1.0,
        (
            Slots("lookup", 1, OPEN),
            Slots("open", 3, OPEN),
            Slots("matching", 1, CHOICE),
            Slots("two", 1, CHOICE),
            Slots("choice", 3, CHOICE),
        ),
    ),
)


def lesson_at(progress: float) -> Lesson:
    """The lesson when a share `progress` in [0, 1] of the time has passed."""
    return next((lesson for lesson in LESSONS if progress < lesson.until), LESSONS[-1])
