"""Scenes in which several things act, each in its own time, or change behind a curtain.

What they ask for (`event_questions.py`) is in no single frame: for every moment of every such scene
there is another scene that looks the same at that moment and has another answer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.tiny.scenes import (
    BRIEF_ACTIONS,
    COLORS,
    DIRECTIONS,
    MAX_THINGS,
    SCENERIES,
    SHAPES,
    Scene,
    Thing,
)

EVENT_TASKS = (
    "moving_count",
    "moving_attribute",
    "character_order",
    "object_shuffle",
    "state_change",
    "event_order",
)
CHANGES = ("color", "shape", "size", "place")
MOST_MOVERS = 3

STEP = 0.24
"""How far a moving thing goes, as a share of the frame."""

ALWAYS = (0.0, 1.0)
FIRST_HALF, SECOND_HALF = (0.0, 0.5), (0.5, 1.0)
THIRDS = ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0))
RADII = ((0.1, 0.112), (0.135, 0.15))
"""A small thing's and a large one's."""


@dataclass(frozen=True)
class TimedThing(Thing):
    """A thing whose actions have their own times.

    Attributes:
        windows: `(start, stop)` of each action, in [0, 1].
        shown: from when until when it is there; what changes is two things, one after the other.
        dark: painted in no colour (a curtain).
    """

    windows: tuple[tuple[float, float], ...] = ()
    shown: tuple[float, float] = ALWAYS
    dark: bool = False

    @property
    def moves(self) -> bool:
        """Whether it goes anywhere."""
        return any(action in DIRECTIONS for action in self.actions)

    def at(self, time: float) -> tuple[float, float, float, bool, bool]:
        """State at `time` in [0, 1]: `(x, y, radius, visible, dark)`."""
        start, stop = self.shown
        visible = start <= time and (time < stop or stop == 1)
        x, y, radius, dark = self.x, self.y, self.radius, self.dark
        for action, (start, stop) in zip(self.actions, self.windows, strict=True):
            phase = min(max((time - start) / (stop - start), 0.0), 1.0)
            if action in DIRECTIONS:
                dx, dy = DIRECTIONS[action]
                x, y = x + dx * STEP * (phase - 0.5), y + dy * STEP * (phase - 0.5)
            elif 0.1 < phase < 0.9:
                y -= 0.18 * (action == "jumps")
                radius *= 1 + 0.6 * (action == "swells")
                dark = dark or action == "flashes"
                visible = visible and action != "vanishes"
        return x, y, radius, visible, dark


def _box(thing: TimedThing) -> tuple[float, float, float, float]:
    """Bounding box `(x0, y0, x1, y1)` of everything the thing does."""
    times = [0.0, 1.0, *((start + stop) / 2 for start, stop in thing.windows)]
    states = [thing.at(time) for time in times]
    return (
        min(x - r for x, _, r, _, _ in states),
        min(y - r for _, y, r, _, _ in states),
        max(x + r for x, _, r, _, _ in states),
        max(y + r for _, y, r, _, _ in states),
    )


def _place(things: Sequence[TimedThing], rng: random.Random) -> tuple[TimedThing, ...] | None:
    """The things at random places where none comes near another, or None where they do not fit."""
    placed: list[TimedThing] = []
    boxes: list[tuple[float, float, float, float]] = []
    for thing in things:
        for _ in range(30):
            here = replace(
                thing, x=round(rng.uniform(0.1, 0.9), 3), y=round(rng.uniform(0.1, 0.9), 3)
            )
            x0, y0, x1, y1 = _box(here)
            if min(x0, y0) < 0.01 or max(x1, y1) > 0.99:
                continue
            if all(x0 > b[2] or x1 < b[0] or y0 > b[3] or y1 < b[1] for b in boxes):
                placed.append(here)
                boxes.append((x0, y0, x1, y1))
                break
        else:
            return None
    return tuple(placed)


def _radius(large: bool, rng: random.Random) -> float:
    return round(rng.uniform(*RADII[large]), 3)


def _thing(name: tuple[str, str], rng: random.Random) -> TimedThing:
    return TimedThing(*name, x=0.5, y=0.5, radius=_radius(rng.random() < 0.5, rng))


def _names(count: int, rng: random.Random) -> list[tuple[str, str]]:
    return rng.sample([(c, s) for c in COLORS for s in SHAPES], count)


def _mover(
    name: tuple[str, str], window: tuple[float, float] | None, rng: random.Random
) -> TimedThing:
    """A thing that moves in `window`, in a random one if None."""
    window = window or rng.choice([ALWAYS, FIRST_HALF, SECOND_HALF])
    return replace(_thing(name, rng), actions=(rng.choice(list(DIRECTIONS)),), windows=(window,))


def _moving_count(rng: random.Random) -> list[TimedThing]:
    """How many things there are says nothing about how many of them move."""
    movers = rng.randint(0, MOST_MOVERS)
    names = _names(rng.randint(MOST_MOVERS, MAX_THINGS), rng)
    return [
        _mover(name, None, rng) if i < movers else _thing(name, rng) for i, name in enumerate(names)
    ]


def _moving_attribute(rng: random.Random) -> list[TimedThing]:
    """Three things of one shape, of which one moves; sometimes another one that may move too."""
    shape, other = rng.sample(SHAPES, 2)
    first, *rest = rng.sample(COLORS, 3)
    things = [_mover((first, shape), None, rng), *(_thing((c, shape), rng) for c in rest)]
    if rng.random() < 0.5:
        name = (rng.choice(COLORS), other)
        things.append(_mover(name, None, rng) if rng.random() < 0.5 else _thing(name, rng))
    return things


def _character_order(rng: random.Random) -> list[TimedThing]:
    """One thing moves, then another one, beside one or two that stand still."""
    one, two, *still = _names(rng.randint(3, MAX_THINGS), rng)
    movers = [_mover(one, FIRST_HALF, rng), _mover(two, SECOND_HALF, rng)]
    return [*movers, *(_thing(name, rng) for name in still)]


def _event_order(rng: random.Random) -> list[TimedThing]:
    """One thing acts three times, beside others that stand still."""
    actor, *still = _names(rng.randint(1, 3), rng)
    actions = tuple(rng.sample(BRIEF_ACTIONS, 3))
    acting = replace(_thing(actor, rng), actions=actions, windows=THIRDS)
    return [acting, *(_thing(name, rng) for name in still)]


def _still(count: int, rng: random.Random) -> list[TimedThing]:
    return [_thing(name, rng) for name in _names(count, rng)]


def _altered(thing: TimedThing, change: str, rng: random.Random) -> TimedThing:
    """The thing after one change of `CHANGES` other than its place."""
    if change == "color":
        return replace(thing, color=rng.choice([c for c in COLORS if c != thing.color]))
    if change == "shape":
        return replace(thing, shape=rng.choice([s for s in SHAPES if s != thing.shape]))
    return replace(thing, radius=_radius(thing.radius < RADII[1][0], rng))


def _split_at(before: TimedThing, after: TimedThing, time: float) -> tuple[TimedThing, TimedThing]:
    return replace(before, shown=(0.0, time)), replace(after, shown=(time, 1.0))


def _state_change(rng: random.Random) -> tuple[TimedThing, ...] | None:
    """One of two or three things changes between one frame and the next."""
    change = rng.choice(CHANGES)
    things = _still(rng.randint(2, 3), rng)
    things.append(things[0])
    # Room for a large thing at each place, and a free place for the one that changes its own.
    placed = _place([replace(thing, radius=RADII[1][1]) for thing in things], rng)
    if placed is None:
        return None
    sized = (replace(p, radius=t.radius) for p, t in zip(placed, things, strict=True))
    changing, *others, free = sized
    after = free if change == "place" else _altered(changing, change, rng)
    return *_split_at(changing, after, round(rng.uniform(0.42, 0.64), 3)), *others


def _object_shuffle(rng: random.Random) -> tuple[TimedThing, ...] | None:
    """A curtain hides two or three things; behind it one of them may be exchanged."""
    placed = _place(_still(rng.randint(2, 3), rng), rng)
    if placed is None:
        return None
    hidden, *others = placed
    shown = (round(rng.uniform(0.3, 0.38), 3), round(rng.uniform(0.54, 0.62), 3))
    curtain = TimedThing(COLORS[0], "square", 0.5, 0.5, 0.7, shown=shown, dark=True)
    if rng.random() < 0.5:
        return *placed, curtain
    other = _altered(hidden, rng.choice(("color", "shape")), rng)
    return *_split_at(hidden, other, round(sum(shown) / 2, 3)), *others, curtain


_PLACED = {"state_change": _state_change, "object_shuffle": _object_shuffle}
_LOOSE = {
    "moving_count": _moving_count,
    "moving_attribute": _moving_attribute,
    "character_order": _character_order,
    "event_order": _event_order,
}


def sample_event_scene(task: str, rng: random.Random) -> Scene:
    """Draw a scene in which `task` (one of `EVENT_TASKS`) can be asked, from any split."""
    while True:
        things = _PLACED[task](rng) if task in _PLACED else _place(_LOOSE[task](rng), rng)
        if things:
            return Scene(things, (rng.choice(SCENERIES),), 1.0)
