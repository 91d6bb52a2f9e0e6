"""Draws of samples are spread over tasks and videos, and follow the seed."""

from collections import Counter
from pathlib import Path

import pytest

from prune.errors import UsageError
from prune.inputs.draw import draw_samples
from prune.inputs.samples import Sample
from prune.workflows.select import of_tasks

# As benchmarks are: sorted by task, and by video within it.
SAMPLES = [
    Sample(f"{task}-{video}-{n}", Path(f"{video}.mp4"), "?", ("a", "b"), 0, task)
    for task, videos in (("count", 20), ("order", 8), ("colour", 4))
    for video in range(videos)
    for n in range(3)
]


def counts(drawn: list[Sample]) -> Counter[str]:
    return Counter(sample.task for sample in drawn)


def test_a_draw_takes_every_task_and_as_many_videos_as_it_can() -> None:
    drawn = draw_samples(SAMPLES, 24)
    assert counts(drawn) == {"count": 8, "order": 8, "colour": 8}
    assert drawn == sorted(drawn, key=SAMPLES.index)
    asked = Counter(sample.video for sample in drawn)
    assert len(asked) > 12 and len({s.video for s in drawn if s.task == "order"}) == 8


def test_the_seed_draws_others_and_a_larger_limit_the_same_and_more() -> None:
    assert draw_samples(SAMPLES, 9) == draw_samples(SAMPLES, 9)
    assert draw_samples(SAMPLES, 9, seed=1) != draw_samples(SAMPLES, 9)
    assert set(draw_samples(SAMPLES, 9)) < set(draw_samples(SAMPLES, 30))


def test_a_number_for_each_task() -> None:
    assert counts(draw_samples(SAMPLES, per_task=5)) == {"count": 5, "order": 5, "colour": 5}
    assert counts(draw_samples(SAMPLES, per_task=20)) == {"count": 20, "order": 20, "colour": 12}
    assert draw_samples(SAMPLES) == SAMPLES == draw_samples(SAMPLES, 10_000)


def test_unknown_tasks_are_named() -> None:
    assert counts(of_tasks(SAMPLES, ["order"], Path("d.jsonl"))) == {"order": 24}
    with pytest.raises(UsageError, match="no task colours"):
        of_tasks(SAMPLES, ["colours", "order"], Path("d.jsonl"))
