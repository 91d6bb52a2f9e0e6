"""Open questions about a clip: its task's own, and steps towards it.

From `How many shapes move?` alone little is learnt: `Which way does the red circle move?` teaches
what it takes, at a few tokens.
"""

import random

from prune.tiny.event_questions import change_of, movers_of, things_of
from prune.tiny.events import EVENT_TASKS, TimedThing
from prune.tiny.questions import ask
from prune.tiny.scenes import COLORS, SHAPES, Scene
from prune.tiny.task_sets import ask_for

Fact = tuple[str, str, str]
"""Name, question and answer."""


def fact(task: str, scene: Scene, rng: random.Random) -> Fact:
    """One true answer to a question about a scene that was drawn for `task`."""
    own = 0.6 if task in EVENT_TASKS else 0.4
    if rng.random() < own:
        question = ask_for(task, scene, rng)
        return task, question.text, question.answer
    steps = [_existence, _which]
    if task in EVENT_TASKS:
        if movers_of(scene):
            steps += [_way, _way, _way]
        if task in ("state_change", "object_shuffle"):
            steps += [_change, _change]
        if task == "event_order":
            steps = [_does, _does, _which]
        if task == "character_order":
            steps = [_when, _when, _when, _way]
    else:
        steps += [_count, _scenery, _scenery] if len(scene.sceneries) > 1 else [_count]
    return rng.choice(steps)(scene, rng)


def lookup(task: str, scene: Scene, rng: random.Random) -> Fact:
    """A question whose answer is beside what it names: it needs volume until it is learnt."""
    steps = [_which, _which, _which, _existence]
    if task not in EVENT_TASKS:
        steps += [_scenery, _scenery]
    if task in EVENT_TASKS and movers_of(scene):
        steps += [_way, _way]
    return rng.choice(steps)(scene, rng)


def _existence(scene: Scene, rng: random.Random) -> Fact:
    """The whole name, or one half of it."""
    names = {(t.color, t.shape) for t in scene.things if not getattr(t, "dark", False)}
    present = {word for name in names for word in name}
    absent = [w for w in (*COLORS, *SHAPES) if w not in present]
    if rng.random() < 0.4 and absent:
        there = rng.random() < 0.5
        word = rng.choice(sorted(present) if there else absent)
        text = f"Is there {'a ' if word in SHAPES else ''}{word}?"
        return "step/half", text, "yes" if there else "no"
    there = rng.random() < 0.5
    others = [(c, s) for c in COLORS for s in SHAPES if (c, s) not in names]
    color, shape = rng.choice(sorted(names) if there else others)
    return "step/existence", f"Is there a {color} {shape}?", "yes" if there else "no"


def _which(scene: Scene, rng: random.Random) -> Fact:
    """What is beside one half of a name: `nothing` teaches what yes and no alone do not."""
    names = [(t.color, t.shape) for t in scene.things if not getattr(t, "dark", False)]
    colors, shapes = zip(*names, strict=True)
    absent = [f"What is the {s}?" for s in SHAPES if s not in shapes]
    absent += [f"What is {c}?" for c in COLORS if c not in colors]
    if absent and rng.random() < 0.3:
        return "step/which", rng.choice(absent), "nothing"
    texts = [(f"What is the {s}?", c) for c, s in names if shapes.count(s) == 1]
    texts += [(f"What is {c}?", s) for c, s in names if colors.count(c) == 1]
    if not texts:
        return _existence(scene, rng)
    return "step/which", *rng.choice(texts)


def _count(scene: Scene, rng: random.Random) -> Fact:
    question = ask("object_count", scene, rng)
    return "object_count", question.text, question.answer


def _way(scene: Scene, rng: random.Random) -> Fact:
    """Which way one of the things moves; half of the time one that does not."""
    movers = movers_of(scene)
    still = [t for t in things_of(scene) if t not in movers]
    thing = rng.choice(movers if not still or rng.random() < 0.5 else still)
    way = thing.actions[0] if thing.moves else "nowhere"
    return "step/way", f"Which way does the {thing.name} move?", way


def _when(scene: Scene, rng: random.Random) -> Fact:
    """When one of the things moves, of which one moves after the other."""
    first, last, *still = things_of(scene)
    thing, when = rng.choice([(first, "first"), (last, "last"), (rng.choice(still), "nowhere")])
    return "step/when", f"When does the {thing.name} move?", when


def _scenery(scene: Scene, rng: random.Random) -> Fact:
    when = rng.randrange(2)
    return "step/scene", f"What is the scene {('first', 'last')[when]}?", scene.sceneries[-when]


def _change(scene: Scene, rng: random.Random) -> Fact:
    before, after = scene.things[:2]
    changed = isinstance(after, TimedThing) and after.shown[0] > 0 and not after.dark
    answer = change_of(before, after) if changed else "nothing"
    return "step/change", "What changes?", answer


def _does(scene: Scene, rng: random.Random) -> Fact:
    when = rng.randrange(3)
    text = f"What does the {scene.actor.name} do {('first', 'second', 'last')[when]}?"
    return "step/does", text, scene.actor.actions[when]
