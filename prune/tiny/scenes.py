"""Scenes of the benchmark: a few shapes, one of which may act, before one or two backgrounds.

A `Scene` is the ground truth from which both the pixels (`draw.py`) and the questions
(`questions.py`) follow. Every action is symmetric in time as a set of frames (a reversed `grows` is
a `shrinks`; `jumps` and `flashes` leave no trace behind), so that its question cannot be
answered from frames in an unknown order.
"""

import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass

COLORS = ("red", "yellow", "white", "pink")
SHAPES = ("circle", "square", "triangle", "cross")
SCENERIES = ("desert", "sea", "forest", "night")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SIZES = ("grows", "shrinks")
BRIEF_ACTIONS = ("jumps", "flashes", "swells", "vanishes")
MAX_THINGS = 4

TRAVEL = 0.5
"""How far a moving thing goes, as a share of the frame."""

SPLITS = ("train", "calibration", "test")


@dataclass(frozen=True)
class Thing:
    """One shape. Lengths are shares of the frame's side; `actions` are done one after another."""

    color: str
    shape: str
    x: float
    y: float
    radius: float
    actions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in questions, for example `red circle`."""
        return f"{self.color} {self.shape}"

    def at(self, time: float) -> tuple[float, float, float, bool, bool]:
        """State at `time` in [0, 1]: `(x, y, radius, visible, dark)`."""
        x, y, radius, visible, dark = self.x, self.y, self.radius, True, False
        if not self.actions:
            return x, y, radius, visible, dark
        turn = min(int(time * len(self.actions)), len(self.actions) - 1)
        action, phase = self.actions[turn], time * len(self.actions) - turn
        bump = math.sin(math.pi * phase) ** 0.5 if 0 < phase < 1 else 0.0
        if action in DIRECTIONS:
            dx, dy = DIRECTIONS[action]
            x, y = x + dx * TRAVEL * (phase - 0.5), y + dy * TRAVEL * (phase - 0.5)
        elif action in SIZES:
            radius *= 1 + 0.5 * (phase - 0.5) * (2 if action == "grows" else -2)
        elif action == "jumps":
            y -= 0.22 * bump
        elif action == "swells":
            radius *= 1 + 0.7 * bump
        elif action == "flashes":
            dark = 0.2 < phase < 0.8
        elif action == "vanishes":
            visible = not 0.2 < phase < 0.8
        return x, y, radius, visible, dark


@dataclass(frozen=True)
class Scene:
    """A whole clip: its things (the first one is the actor), sceneries and the cut between them."""

    things: tuple[Thing, ...]
    sceneries: tuple[str, ...]
    cut: float

    @property
    def actor(self) -> Thing:
        """The only thing that may act."""
        return self.things[0]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the ground truth; equal scenes, and no others, share it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def split(self) -> str:
        """The one split this scene may be used in, decided by its fingerprint alone."""
        bucket = int(self.fingerprint[:8], 16) % 10
        return {0: "test", 1: "calibration"}.get(bucket, "train")


def _actions_for(task: str, rng: random.Random) -> tuple[str, ...]:
    if task == "moving_direction":
        return (rng.choice(list(DIRECTIONS)),)
    if task == "action_antonym":
        return (rng.choice(SIZES),)
    if task == "action_sequence":
        return tuple(rng.sample(BRIEF_ACTIONS, 2))
    return rng.choice([(), (rng.choice(list(DIRECTIONS)),), (rng.choice(SIZES),)])


def _reach(thing: Thing) -> tuple[float, float, float, float]:
    """Bounding box `(x0, y0, x1, y1)` of everything the thing does."""
    states = [thing.at(i / 16) for i in range(17)]
    return (
        min(x - r for x, _, r, _, _ in states),
        min(y - r for _, y, r, _, _ in states),
        max(x + r for x, _, r, _, _ in states),
        max(y + r for _, y, r, _, _ in states),
    )


def _fits(thing: Thing, others: list[Thing]) -> bool:
    x0, y0, x1, y1 = _reach(thing)
    if min(x0, y0) < 0.01 or max(x1, y1) > 0.99:
        return False
    boxes = [_reach(other) for other in others]
    return all(x0 > b[2] or x1 < b[0] or y0 > b[3] or y1 < b[1] for b in boxes)


def sample_scene(task: str, rng: random.Random) -> Scene:
    """Draw a scene in which `task` can be asked, from any split."""
    while True:
        names = rng.sample([(c, s) for c in COLORS for s in SHAPES], rng.randint(1, MAX_THINGS))
        things: list[Thing] = []
        for i, (color, shape) in enumerate(names):
            actions = _actions_for(task, rng) if i == 0 else ()
            for _ in range(40):
                x, y = round(rng.uniform(0.1, 0.9), 3), round(rng.uniform(0.1, 0.9), 3)
                thing = Thing(color, shape, x, y, round(rng.uniform(0.11, 0.14), 3), actions)
                if _fits(thing, things):
                    things.append(thing)
                    break
        if len(things) == len(names):
            break
    changes = task == "scene_transition" or rng.random() < 0.3
    sceneries = tuple(rng.sample(SCENERIES, 2 if changes else 1))
    return Scene(tuple(things), sceneries, round(rng.uniform(0.35, 0.65), 3))


def scene_of_split(task: str, split: str, rng: random.Random) -> Scene:
    """Draw scenes for `task` until one belongs to `split` (one of `SPLITS`)."""
    while True:
        scene = sample_scene(task, rng)
        if scene.split == split:
            return scene
