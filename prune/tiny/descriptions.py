"""A whole clip in words: what is there, where it starts, and what becomes of it."""

from prune.tiny.event_questions import change_of
from prune.tiny.events import ALWAYS, FIRST_HALF, SECOND_HALF, TimedThing
from prune.tiny.scenes import COLORS, DIRECTIONS, SHAPES, Scene, Thing

DESCRIBE = "Describe the video."

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "middle", "right")
_WHEN = {
    ALWAYS: " all the time",
    FIRST_HALF: " in the first half",
    SECOND_HALF: " in the second half",
}


def description(scene: Scene) -> str:
    """Every thing of a clip in a fixed order, by color and then shape, behind the scenery."""
    things = [t for t in scene.things if not _dark(t)]
    first = sorted((t for t in things if _shown(t)[0] == 0), key=_order)
    sentences = [f"The scene is {' then '.join(scene.sceneries)}."]
    sentences += [f"A {t.name} at the {_place(t)} {_acts(t, things)}." for t in first]
    if any(map(_dark, scene.things)):
        sentences.append("A curtain hides them.")
    return " ".join(sentences)


def _dark(thing: Thing) -> bool:
    return isinstance(thing, TimedThing) and thing.dark


def _shown(thing: Thing) -> tuple[float, float]:
    return thing.shown if isinstance(thing, TimedThing) else ALWAYS


def _order(thing: Thing) -> tuple[int, int]:
    return COLORS.index(thing.color), SHAPES.index(thing.shape)


def _place(thing: Thing) -> str:
    """The third of the frame's height and width in which a thing starts."""
    x, y, *_ = thing.at(0.0)
    row, column = (min(int(3 * share), 2) for share in (y, x))
    return "center" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"


def _acts(thing: Thing, things: list[Thing]) -> str:
    """What a thing does, or what it becomes behind its end."""
    if _shown(thing)[1] < 1:
        (after,) = (t for t in things if _shown(t)[0] == _shown(thing)[1])
        assert isinstance(thing, TimedThing) and isinstance(after, TimedThing)
        return f"becomes {_change(thing, after)}"
    if not thing.actions:
        return "stands still"
    verbs = " then ".join(f"moves {a}" if a in DIRECTIONS else a for a in thing.actions)
    if isinstance(thing, TimedThing) and len(thing.windows) == 1:
        return verbs + _WHEN[thing.windows[0]]
    return verbs


def _change(before: TimedThing, after: TimedThing) -> str:
    change = change_of(before, after)
    if change == "place":
        return f"one at the {_place(after)}"
    if change == "size":
        return "large" if after.radius > before.radius else "small"
    return after.color if change == "color" else f"a {after.shape}"
