"""Boxes of objects: read and written, over time, and those of drawn scenes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune.inputs.boxes import ObjectBox, box_mask, frame_times, named_in
from prune.inputs.encode import decode
from prune.inputs.fingerprint import fingerprint
from prune.inputs.samples import load_samples, save_samples
from prune.tiny.benchmark import scenes, write_benchmark
from prune.tiny.boxes import boxes_of
from prune.tiny.draw import CLIP_TIMES, FPS, FRAMES, SIZE, coverage

TIMES = [frame / FPS for frame in range(FRAMES)]


def test_boxes_are_read_written_and_part_of_a_sample(tmp_path: Path) -> None:
    boxes = [{"label": "dog", "box": [0, 0.5, 0.25, 1], "end": 1.5},
             {"label": "dog", "box": [0.25, 0.5, 0.5, 1], "start": 1.5}]  # fmt: skip
    path = tmp_path / "data.jsonl"
    line = {"id": "a", "video": "a.mp4", "question": "Where does the dog go?"}
    path.write_text(json.dumps({**line, "boxes": boxes}) + "\n")
    (sample,) = load_samples(path)
    assert sample.boxes == (
        ObjectBox("dog", (0, 0.5, 0.25, 1), end=1.5),
        ObjectBox("dog", (0.25, 0.5, 0.5, 1), start=1.5),
    )
    save_samples(path, [sample])
    assert json.loads(path.read_text())["boxes"] == boxes and load_samples(path) == [sample]
    assert fingerprint([sample]) != fingerprint([replace(sample, boxes=())])


def test_a_box_holds_from_its_start_until_before_its_end() -> None:
    box = ObjectBox("dog", (0, 0.5, 0.25, 1), 0.5, 1.0)
    assert [box.holds_at(t) for t in (0.49, 0.5, 0.99, 1.0)] == [False, True, True, False]
    mask = box_mask([box], [0.0, 0.5], 4, 8)
    assert not mask[0].any() and mask[1].sum() == 4 and mask[1, 2:, :2].all()


def test_objects_are_named_by_all_words_of_their_label() -> None:
    boxes = [ObjectBox(name, (0, 0, 1, 1)) for name in ("Red circle", "red square", "dog")]
    assert named_in(boxes, "Does the red circle move?") == boxes[:1]
    assert named_in(boxes, "Is there a hotdog?") == []


@pytest.mark.parametrize("task_set", ["shapes", "events"])
def test_boxes_of_scenes_bound_what_is_drawn(task_set: str) -> None:
    for _, scene, _ in scenes("test", 2, task_set=task_set):
        boxes = boxes_of(scene)
        dark = [thing for thing in scene.things if getattr(thing, "dark", False)]
        hidden = np.array([any(thing.at(t)[3] for thing in dark) for t in CLIP_TIMES])
        for label in {thing.name for thing in scene.things if thing not in dark}:
            drawn = np.zeros((FRAMES, SIZE, SIZE), bool)
            for thing in (t for t in scene.things if t.name == label and t not in dark):
                drawn |= coverage(thing) > 0.5
            drawn &= ~hidden[:, None, None]
            inside = box_mask([b for b in boxes if b.label == label], TIMES, SIZE, SIZE)
            for frame in range(FRAMES):
                assert drawn[frame].any() == inside[frame].any()
                for axis in (0, 1):
                    lines, known = (np.flatnonzero(m[frame].any(axis)) for m in (drawn, inside))
                    if len(lines):
                        assert abs(lines[0] - known[0]) <= 1 and abs(lines[-1] - known[-1]) <= 1


def test_the_benchmark_says_where_things_are_in_its_clips(tmp_path: Path) -> None:
    samples = load_samples(write_benchmark(tmp_path, "test", 1))
    assert all(sample.boxes for sample in samples)
    sample = next(s for s in samples if s.task == "moving_direction")
    frames, metadata = decode(sample, FRAMES)
    times = frame_times(len(frames), metadata)
    assert times == pytest.approx(TIMES)
    (name,) = {b.label for b in named_in(sample.boxes, sample.question)}
    mask = box_mask([b for b in sample.boxes if b.label == name], times, *frames.shape[1:3])
    centres = [np.argwhere(frame).mean(0) for frame in mask]
    y, x = centres[-1] - centres[0]
    way = {"left": x < -9, "right": x > 9, "up": y < -9, "down": y > 9}
    assert way[sample.options[sample.answer]]
