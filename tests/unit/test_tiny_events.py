"""Tasks that need several frames: their answers, and that no frame gives one away."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune.inputs.samples import load_samples
from prune.tiny.benchmark import scenes, write_benchmark
from prune.tiny.draw import CLIP_TIMES, coverage, render
from prune.tiny.event_questions import ask_event
from prune.tiny.events import ALWAYS, EVENT_TASKS, TimedThing, sample_event_scene
from prune.tiny.scenes import BRIEF_ACTIONS, COLORS, DIRECTIONS, SPLITS, Scene
from prune.tiny.task_sets import TASK_SETS, ask_for, scene_for

DRAWS = 40
State = tuple[str, str, float, float, float]


def _drawn(task: str, count: int = DRAWS) -> list[Scene]:
    rng = random.Random(f"test/{task}")
    return [sample_event_scene(task, rng) for _ in range(count)]


def _shown(scene: Scene, time: float) -> list[State]:
    """What can be seen at a time: `(color, shape, x, y, radius)`, nothing behind a curtain."""
    found: list[State] = []
    for thing in scene.things:
        x, y, radius, visible, dark = thing.at(time)
        if visible and radius > 0.5:
            return []
        if visible:
            found.append(("dark" if dark else thing.color, thing.shape, x, y, radius))
    return sorted(found)


def _name(state: State) -> str:
    return f"{state[0]} {state[1]}"


def _moved(scene: Scene, start: float, stop: float) -> list[State]:
    """Those whose colour and shape are there at both times, in different places."""
    later = {_name(s): s for s in _shown(scene, stop)}
    return [s for s in _shown(scene, start) if later[_name(s)][2:4] != s[2:4]]


def _does(scene: Scene, time: float) -> str:
    """Which brief action the actor is in the midst of, from how it differs from its start."""
    start, now = scene.actor.at(0), scene.actor.at(time)
    if not now[3]:
        return "vanishes"
    if now[4]:
        return "flashes"
    return "swells" if now[2] > start[2] else "jumps"


def _recomputed(task: str, scene: Scene, text: str) -> str:
    """The answer, from what is visible at some moments alone."""
    before, after = _shown(scene, 0), _shown(scene, 1)
    if task == "moving_count":
        return str(len(_moved(scene, 0, 1)))
    if task == "moving_attribute":
        (color,) = [s[0] for s in _moved(scene, 0, 1) if f"the {s[1]} that" in text]
        return color
    if task == "character_order":
        window = (0, 0.5) if "first" in text else (0.5, 1)
        (mover,) = _moved(scene, *window)
        return _name(mover)
    if task == "object_shuffle":
        return "same" if before == after else "other"
    if task == "event_order":
        return " ".join(_does(scene, time) for time in (1 / 6, 3 / 6, 5 / 6))
    ((one,), (two,)) = (
        [state for state in here if state not in there]
        for here, there in ((before, after), (after, before))
    )
    if one[2:4] != two[2:4]:
        return "place"
    return "color" if one[0] != two[0] else "shape" if one[1] != two[1] else "size"


@pytest.mark.parametrize("task", EVENT_TASKS)
def test_answers_are_what_the_clip_shows(task: str) -> None:
    rng = random.Random(0)
    answers = Counter()
    for scene in _drawn(task, 5 * DRAWS):
        question = ask_event(task, scene, rng)
        assert question.answer == _recomputed(task, scene, question.text)
        assert question.answer not in question.wrong
        assert len({question.answer, *question.wrong}) == 1 + len(question.wrong)
        answers[question.answer] += 1
    # No answer is so frequent that it is worth guessing.
    assert max(answers.values()) / answers.total() < 1.5 / min(len(answers), 4)


def _still(thing: TimedThing, time: float) -> TimedThing:
    """A thing that looks the same at `time` and never acts."""
    x, y, radius, _, dark = thing.at(time)
    return replace(
        thing, x=x, y=y, radius=radius, actions=(), windows=(), shown=ALWAYS, dark=dark
    )  # fmt: skip


def _in_motion(thing: TimedThing, time: float, window: tuple[float, float] = ALWAYS) -> TimedThing:
    """A thing that looks the same at `time` and moves in `window`, in a direction with room."""
    x, y, *_ = thing.at(time)
    for way in DIRECTIONS:
        moving = replace(_still(thing, time), actions=(way,), windows=(window,))
        now = moving.at(time)
        moving = replace(moving, x=2 * x - now[0], y=2 * y - now[1])
        if all(0 < v < 1 for t in (0, 1) for v in moving.at(t)[:2]):
            return moving
    raise AssertionError(f"no room for {thing}")


def _twin(task: str, scene: Scene, time: float) -> Scene:
    """Another scene that looks the same at `time` and has another answer."""
    things = [t for t in scene.things if isinstance(t, TimedThing)]
    if task == "moving_count":
        others = [_still(t, time) for t in things]
        if not any(t.moves for t in things):
            others[0] = _in_motion(things[0], time)
        return replace(scene, things=tuple(others))
    if task == "moving_attribute":
        mover, like, *rest = things
        return replace(scene, things=(_in_motion(like, time), _still(mover, time), *rest))
    if task == "character_order":
        first, last, *rest = things
        swapped = _in_motion(last, time, first.windows[0]), _in_motion(first, time, last.windows[0])
        return replace(scene, things=(*swapped, *rest))
    if task == "event_order":
        actor, *rest = things
        now = min(int(3 * time), 2)
        a, b = (i for i in range(3) if i != now)
        order = list(actor.actions)
        order[a], order[b] = order[b], order[a]
        return replace(scene, things=(replace(actor, actions=tuple(order)), *rest))
    curtain = [t for t in things if t.dark]
    plain = [t for t in things if not t.dark]
    seen = [t for t in plain if replace(t, actions=(), windows=()).at(time)[3]]
    cut = next((t.shown[0] for t in plain if t.shown[0] > 0), 0.46)
    if task == "object_shuffle" and len(plain) > len(seen):
        return replace(scene, things=(*(replace(t, shown=ALWAYS) for t in seen), *curtain))
    changing = next((t for t in seen if t.shown != ALWAYS), seen[0])
    others = [t for t in seen if t is not changing]
    another = replace(changing, color=next(c for c in COLORS if c != changing.color))
    if task == "state_change" and _recomputed(task, scene, "") == "color":
        another = replace(changing, shape="cross" if changing.shape != "cross" else "circle")
    pair = (changing, another) if time < cut else (another, changing)
    halves = (replace(t, shown=part) for t, part in zip(pair, ((0, cut), (cut, 1)), strict=True))
    return replace(scene, things=(*halves, *others, *curtain))


@pytest.mark.parametrize("task", EVENT_TASKS)
def test_no_frame_gives_the_answer_away(task: str) -> None:
    """For every frame of a clip another clip has the very same frame and another answer."""
    rng = random.Random(1)
    for scene in _drawn(task, 10):
        question = ask_event(task, scene, rng)
        for time in CLIP_TIMES:
            twin = _twin(task, scene, time)
            assert _recomputed(task, twin, question.text) != question.answer, (scene, time)
            one, other = (render(s, (time,)).astype(int) for s in (scene, twin))
            assert np.abs(one - other).max() <= 1, (scene, time)


def test_things_never_touch() -> None:
    for task in EVENT_TASKS:
        for scene in _drawn(task, 10):
            plain = [t for t in scene.things if t.radius < 0.5]
            cover = sum(coverage(t).round() for t in plain)
            assert np.max(cover) <= 1
            assert all(coverage(t).max() == 1 for t in plain)


def test_actions_are_seen_in_four_frames() -> None:
    """What a question asks for happens between, or in, four frames of a clip."""
    times = CLIP_TIMES[2::4]
    for task in EVENT_TASKS:
        rng = random.Random(2)
        for scene in _drawn(task):
            question = ask_event(task, scene, rng)
            if task == "event_order":
                seen = list(dict.fromkeys(_does(scene, t) for t in (times[0], times[1], times[3])))
                assert " ".join(seen) == question.answer and set(seen) <= set(BRIEF_ACTIONS)
            elif task == "character_order":
                first, last = _moved(scene, *times[:2]), _moved(scene, *times[2:])
                asked = first if "first" in question.text else last
                assert [_name(s) for s in asked] == [question.answer]
            else:
                states = [_shown(scene, t) for t in times]
                same = question.answer in ("0", "same")
                assert (states[0] == states[-1]) is same
            if task == "object_shuffle":
                assert [] in [_shown(scene, t) for t in times]


def test_splits_share_no_scene_and_letters_are_even(tmp_path: Path) -> None:
    drawn = {
        split: {s.fingerprint for _, s, _ in scenes(split, 20, task_set="events")}
        for split in SPLITS
    }
    assert all(len(part) == 20 * len(TASK_SETS["events"]) for part in drawn.values())
    assert sum(map(len, drawn.values())) == len(set.union(*drawn.values()))
    rng = random.Random(3)
    for task in EVENT_TASKS:
        question = ask_for(task, scene_for(task, "test", rng), rng)
        letters = Counter(question.options(rng).index(question.answer) for _ in range(600))
        assert len(letters) == 1 + len(question.wrong)
        assert max(letters.values()) < 1.3 * min(letters.values())
    path = write_benchmark(tmp_path, "test", 1, task_set="events")
    samples = load_samples(path)
    assert [s.task for s in samples] == list(TASK_SETS["events"])
    assert all(s.video.is_file() for s in samples)
