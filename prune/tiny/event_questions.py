"""Six tasks about scenes of `events.py`, with names as in TVBench, MVBench and TempCompass."""

import itertools
import random
from collections.abc import Callable, Iterable

from prune.tiny.events import ALWAYS, CHANGES, MOST_MOVERS, TimedThing
from prune.tiny.questions import SceneQuestion
from prune.tiny.scenes import Scene


def things_of(scene: Scene) -> list[TimedThing]:
    """What is there at the start, without a curtain."""
    return [
        t for t in scene.things
        if isinstance(t, TimedThing) and not t.dark and t.shown[0] == 0
    ]  # fmt: skip


def movers_of(scene: Scene) -> list[TimedThing]:
    """The things that go anywhere."""
    return [t for t in things_of(scene) if t.moves]


def _question(task: str, text: str, answer: str, options: Iterable[str]) -> SceneQuestion:
    return SceneQuestion(task, text, answer, tuple(o for o in options if o != answer))


def _count(scene: Scene, rng: random.Random) -> SceneQuestion:
    options = map(str, range(MOST_MOVERS + 1))
    answer = str(len(movers_of(scene)))
    return _question("moving_count", "How many shapes move?", answer, options)


def _attribute(scene: Scene, rng: random.Random) -> SceneQuestion:
    mover = scene.things[0]
    options = [t.color for t in things_of(scene) if t.shape == mover.shape]
    text = f"What color is the {mover.shape} that moves?"
    return _question("moving_attribute", text, mover.color, options)


def _character_order(scene: Scene, rng: random.Random) -> SceneQuestion:
    """A choice of three: the two that move, and one that stands still."""
    first, last, still = things_of(scene)[:3]
    when = rng.choice(["first", "last"])
    answer = first if when == "first" else last
    options = (first.name, last.name, still.name)
    return _question("character_order", f"Which shape moves {when}?", answer.name, options)


def _shuffle(scene: Scene, rng: random.Random) -> SceneQuestion:
    answer = "same" if all(t.shown == ALWAYS for t in things_of(scene)) else "other"
    text = "Are they the same after the curtain?"
    return _question("object_shuffle", text, answer, ("same", "other"))


def change_of(before: TimedThing, after: TimedThing) -> str:
    """Which of `CHANGES` makes one thing of the other."""
    if (before.x, before.y) != (after.x, after.y):
        return "place"
    if before.color != after.color:
        return "color"
    return "shape" if before.shape != after.shape else "size"


def _state_change(scene: Scene, rng: random.Random) -> SceneQuestion:
    before, after, *_ = scene.things
    assert isinstance(before, TimedThing) and isinstance(after, TimedThing)
    answer = change_of(before, after)
    return _question("state_change", "What changes?", answer, CHANGES)


def _event_order(scene: Scene, rng: random.Random) -> SceneQuestion:
    """A choice of three of the six orders."""
    actor = scene.actor
    answer, *others = (" ".join(order) for order in itertools.permutations(actor.actions))
    text = f"In which order does the {actor.name} act?"
    return _question("event_order", text, answer, rng.sample(others, 2))


_ASK: dict[str, Callable[[Scene, random.Random], SceneQuestion]] = {
    "moving_count": _count,
    "moving_attribute": _attribute,
    "character_order": _character_order,
    "object_shuffle": _shuffle,
    "state_change": _state_change,
    "event_order": _event_order,
}


def ask_event(task: str, scene: Scene, rng: random.Random) -> SceneQuestion:
    """A question of `task` about a scene that was drawn for it."""
    return _ASK[task](scene, rng)
