"""Sets of tasks by name: the six of `tiny`, and those with the six of `events.py`."""

import random

from prune.tiny.event_questions import ask_event
from prune.tiny.events import EVENT_TASKS, sample_event_scene
from prune.tiny.questions import TASKS, SceneQuestion, ask
from prune.tiny.scenes import Scene, sample_scene

TASK_SETS = {"shapes": TASKS, "events": (*TASKS, *EVENT_TASKS)}


def scene_for(task: str, split: str, rng: random.Random) -> Scene:
    """Draw scenes for a task of any set until one belongs to `split` (one of `SPLITS`)."""
    sample = sample_event_scene if task in EVENT_TASKS else sample_scene
    while True:
        scene = sample(task, rng)
        if scene.split == split:
            return scene


def ask_for(task: str, scene: Scene, rng: random.Random) -> SceneQuestion:
    """A question of a task of any set about a scene that was drawn for it."""
    return (ask_event if task in EVENT_TASKS else ask)(task, scene, rng)
