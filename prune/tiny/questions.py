"""The six tasks of the benchmark, named after TVBench's, as questions about a `Scene`."""

import random
from dataclasses import dataclass

from prune.tiny.scenes import (
    BRIEF_ACTIONS,
    COLORS,
    DIRECTIONS,
    MAX_THINGS,
    SCENERIES,
    SHAPES,
    SIZES,
    Scene,
)

TASKS = (
    "action_antonym",
    "action_sequence",
    "moving_direction",
    "object_count",
    "scene_transition",
    "object_existence",
)


@dataclass(frozen=True)
class SceneQuestion:
    """A question with its true answer and possible wrong options."""

    task: str
    text: str
    answer: str
    wrong: tuple[str, ...]

    def options(self, rng: random.Random) -> list[str]:
        """All options in random order."""
        options = [self.answer, *self.wrong]
        rng.shuffle(options)
        return options


def _antonym(scene: Scene, rng: random.Random) -> SceneQuestion:
    (answer,) = scene.actor.actions
    wrong = tuple(s for s in SIZES if s != answer)
    return SceneQuestion("action_antonym", f"What does the {scene.actor.name} do?", answer, wrong)


def _sequence(scene: Scene, rng: random.Random) -> SceneQuestion:
    first, last = scene.actor.actions
    when = rng.choice(["first", "last"])
    answer, wrong = (first, last) if when == "first" else (last, first)
    text = f"What does the {scene.actor.name} do {when}?"
    return SceneQuestion("action_sequence", text, answer, (wrong,))


def _direction(scene: Scene, rng: random.Random) -> SceneQuestion:
    (answer,) = scene.actor.actions
    text = f"Which way does the {scene.actor.name} move?"
    return SceneQuestion(
        "moving_direction", text, answer, tuple(d for d in DIRECTIONS if d != answer)
    )


def _count(scene: Scene, rng: random.Random) -> SceneQuestion:
    answer = str(len(scene.things))
    wrong = tuple(str(n) for n in range(1, MAX_THINGS + 1) if str(n) != answer)
    return SceneQuestion("object_count", "How many shapes are there?", answer, wrong)


def _transition(scene: Scene, rng: random.Random) -> SceneQuestion:
    one, two = scene.sceneries
    answer, wrong = f"from {one} to {two}", f"from {two} to {one}"
    return SceneQuestion("scene_transition", "How does the scene change?", answer, (wrong,))


def _existence(scene: Scene, rng: random.Random) -> SceneQuestion:
    present = {(t.color, t.shape) for t in scene.things}
    if rng.random() < 0.5:
        color, shape = rng.choice(sorted(present))
    else:
        color, shape = rng.choice([(c, s) for c in COLORS for s in SHAPES if (c, s) not in present])
    answer, wrong = ("yes", "no") if (color, shape) in present else ("no", "yes")
    return SceneQuestion("object_existence", f"Is there a {color} {shape}?", answer, (wrong,))


_ASK = {
    "action_antonym": _antonym,
    "action_sequence": _sequence,
    "moving_direction": _direction,
    "object_count": _count,
    "scene_transition": _transition,
    "object_existence": _existence,
}


def tasks_of(scene: Scene) -> list[str]:
    """The tasks that can be asked about this scene."""
    actions, tasks = scene.actor.actions, ["object_count", "object_existence"]
    if len(scene.sceneries) == 2:
        tasks.append("scene_transition")
    if len(actions) == 2:
        tasks.append("action_sequence")
    elif actions and actions[0] in SIZES:
        tasks.append("action_antonym")
    elif actions:
        tasks.append("moving_direction")
    return tasks


def ask(task: str, scene: Scene, rng: random.Random) -> SceneQuestion:
    """A question of `task` about `scene`, which must support it (`tasks_of`)."""
    return _ASK[task](scene, rng)


def describe(scene: Scene) -> str:
    """Everything that happens, in one sentence: an auxiliary target when `tiny` is trained."""
    verbs = " then ".join(
        a if a in (*SIZES, *BRIEF_ACTIONS) else f"moves {a}" for a in scene.actor.actions
    )
    others = "".join(f", {t.name}" for t in sorted(scene.things[1:], key=lambda t: (t.x, t.y)))
    actor = f"{scene.actor.name} {verbs}".strip()
    return f"{len(scene.things)} in {' then '.join(scene.sceneries)}: {actor}{others}."


WORDS = (*COLORS, *SHAPES, *SCENERIES, *DIRECTIONS, *SIZES, *BRIEF_ACTIONS)
