"""Descriptions of the embedded clips are true, and are written beside the questions."""

import random
import re
from pathlib import Path

import pytest

from prune.inputs.samples import load_samples
from prune.tiny.descriptions import description
from prune.tiny.scenes import Scene, Thing
from prune.tiny.task_sets import TASK_SETS, scene_for
from prune.workflows.clips import draw_clips

TOLD = re.compile(r"A (\w+ \w+) at the (top|middle|bottom|center) ?(left|middle|right)? (.+)")
CENTRES = {"top": 1 / 6, "left": 1 / 6, "middle": 1 / 2, "bottom": 5 / 6, "right": 5 / 6}


def way_of(thing: Thing) -> str | None:
    """Which way a thing goes between the clip's ends."""
    (x0, y0, *_), (x1, y1, *_) = thing.at(0.0), thing.at(1.0)
    if (x0, y0) == (x1, y1):
        return None
    return ("left" if x1 < x0 else "right") if x1 != x0 else ("up" if y1 < y0 else "down")


def things_at(scene: Scene, time: float) -> dict[str, Thing]:
    """What is there at a moment, without a curtain."""
    there = [(t, t.at(time)) for t in scene.things]
    return {
        t.name: t for t, (*_, seen, dark) in there if seen and not (dark and not t.actions)
    }  # fmt: skip


@pytest.mark.parametrize("task", TASK_SETS["events"])
def test_every_thing_is_told_where_it_starts_and_what_it_does(task: str) -> None:
    rng = random.Random(0)
    for _ in range(40):
        scene = scene_for(task, "calibration", rng)
        first, *sentences = description(scene).removesuffix(".").split(". ")
        assert first == f"The scene is {' then '.join(scene.sceneries)}"
        curtain = task == "object_shuffle"
        assert (sentences.pop() == "A curtain hides them") if curtain else True
        told = [TOLD.fullmatch(sentence) for sentence in sentences]
        assert all(told)
        here, later = things_at(scene, 0.0), things_at(scene, 1.0)
        assert [match[1] for match in told if match] == sorted(
            here, key=lambda name: (_index(name), name)
        )
        for name, row, column, acts in (match.groups() for match in told if match):
            x, y, *_ = here[name].at(0.0)
            row, column = ("middle", "middle") if row == "center" else (row, column)
            assert abs(x - CENTRES[column]) <= 1 / 6 and abs(y - CENTRES[row]) <= 1 / 6
            way = way_of(here[name])
            assert (f"moves {way}" in acts) if way else "moves" not in acts
            assert all(action in acts for action in here[name].actions)
            assert acts.startswith("becomes") is (later.get(name) != here[name])


def _index(name: str) -> tuple[int, int]:
    color, shape = name.split()
    return (
        ("red", "yellow", "white", "pink").index(color),
        ("circle", "square", "triangle", "cross").index(shape),
    )


def test_what_becomes_of_a_thing_is_told() -> None:
    rng, seen = random.Random(1), set()
    for _ in range(200):
        scene = scene_for("state_change", "test", rng)
        before, after = scene.things[:2]
        (told,) = re.findall(rf"A {before.name} at the [^.]* becomes ([^.]*)\.", description(scene))
        kind = (
            "color" if told == after.color
            else "shape" if told == f"a {after.shape}"
            else "size" if told == ("large" if after.radius > before.radius else "small")
            else "place"
        )  # fmt: skip
        assert (kind == "place") is told.startswith("one at the ")
        assert ((before.x, before.y) != (after.x, after.y)) is (kind == "place")
        seen.add(kind)
    assert seen == {"color", "shape", "size", "place"}


def test_clips_to_describe_are_written_with_a_true_reply(tmp_path: Path) -> None:
    files = draw_clips(tmp_path, per_task=2, open=True, task_set="events")
    told = load_samples(tmp_path / "test-descriptions.jsonl")
    assert tmp_path / "test-descriptions.jsonl" in files
    asked = load_samples(tmp_path / "test.jsonl")
    assert [s.video for s in told] == [s.video for s in asked]
    assert {s.question for s in told} == {"Describe the video."}
    for sample, describes in zip(asked, told, strict=True):
        assert describes.reply
        # What a question's answer names is in its clip's description.
        if sample.task in ("moving_direction", "action_antonym"):
            assert sample.options[sample.answer] in describes.reply
        if sample.task == "moving_count":
            assert describes.reply.count("moves") == int(sample.options[sample.answer])
