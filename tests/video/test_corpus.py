"""Odd clips, frame by frame, against what FFmpeg itself shows at the same seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prune.inputs.video import load_video
from tests.video.corpus import CLIPS
from tests.video.ffmpeg import shown

Corpus = Callable[[str], Path]

BY_ORDER = {"no-time-stamps.avi", "b-frames.avi", "packed-b-frames.avi"}
BY_ORDER |= {"raw.h264", "raw.hevc", "raw.m2v"}
"""Clips without a clock: FFmpeg makes up their first second or their rate."""


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_what_ffmpeg_shows(name: str, corpus: Corpus) -> None:
    path = corpus(name)
    times, want = shown(path)
    got, about = load_video(path, len(want))
    assert about["total_num_frames"] == len(want)
    assert got.shape == want.shape
    seconds = np.array(about["frames_indices"]) / about["fps"]
    places = np.arange(len(want))
    if name in BY_ORDER:
        assert about["fps"] == 10
    else:
        # The frame that FFmpeg shows then; the clocks of some formats round to milliseconds.
        places = np.searchsorted(times, seconds + 1e-3) - 1
    for frame, place in zip(got, places, strict=True):
        assert (frame == want[place]).all()


def test_the_corpus_is_large() -> None:
    assert len(CLIPS) >= 24
