"""The corpus is as odd as it says, and what is odd about it is shown as it should be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prune.inputs.video import load_video

Corpus = Callable[[str], Path]

SHOWN = {
    "rotated-90.mp4": (96, 64),
    "rotated-180.mp4": (64, 96),
    "wide-pixels.mp4": (64, 128),
    "high-pixels.mkv": (128, 96),
    "odd-size.mkv": (63, 95),
    "size-changes.ts": (64, 96),
    "cover.mp4": (64, 96),
}


@pytest.mark.parametrize("name", SHOWN)
def test_size(name: str, corpus: Corpus) -> None:
    frames, about = load_video(corpus(name), 2)
    assert frames.shape == (2, *SHOWN[name], 3)
    assert (about["height"], about["width"]) == SHOWN[name]


def test_times_of_a_variable_rate(corpus: Corpus) -> None:
    """8 frames in 4 s, then 16 in 0.8 s."""
    path = corpus("variable-rate.mp4")
    _, about = load_video(path, 6)
    times = [index / about["fps"] for index in about["frames_indices"]]
    assert times == pytest.approx([0, 1, 2, 2.5, 3.5, 4.4])
    assert about["duration"] == pytest.approx(4.8)
    assert about["fps"] == pytest.approx(24 / 4.8) and about["total_num_frames"] == 24
    _, about = load_video(path, 4, start=4, end=4.8)
    times = [index / about["fps"] for index in about["frames_indices"]]
    assert times == pytest.approx([4.1, 4.3, 4.5, 4.7])
    assert about["total_num_frames"] / about["fps"] == pytest.approx(about["duration"])


def test_second_zero_is_where_the_sound_starts(corpus: Corpus) -> None:
    frames, about = load_video(corpus("sound-first.mp4"), 4, start=0.7, end=1.1)
    assert [i / about["fps"] for i in about["frames_indices"]] == pytest.approx([0.7, 0.8, 0.9, 1])
    every, _ = load_video(corpus("sound-first.mp4"), 24)
    assert (frames == every[:4]).all()
