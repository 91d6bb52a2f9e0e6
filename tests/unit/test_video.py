"""Decoding: exact frames, and one clear line for every file that is not a good video."""

import random
from pathlib import Path

import av
import numpy as np
import pytest

from prune.errors import BadInputError
from prune.inputs.video import load_video, write_video
from prune.tiny.draw import FPS, render
from prune.tiny.scenes import sample_scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, render(sample_scene("moving_direction", random.Random(0))), FPS)
    return path


def test_frames_are_segment_midpoints(clip: Path) -> None:
    frames, metadata = load_video(clip, 8)
    assert metadata["frames_indices"] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert (metadata["fps"], metadata["total_num_frames"]) == (8.0, 16)
    every, _ = load_video(clip, 16)
    assert (frames == every[1::2]).all()
    drawn = render(sample_scene("moving_direction", random.Random(0)))
    assert np.abs(every.astype(int) - drawn).mean() < 4, "decoded frames are the drawn ones"


def test_bounds_and_short_clips(clip: Path) -> None:
    _, metadata = load_video(clip, 4, start=0.5, end=1.0)
    assert all(4 <= i <= 8 for i in metadata["frames_indices"])
    frames, metadata = load_video(clip, 40)
    assert frames.shape == (40, 96, 96, 3) and max(metadata["frames_indices"]) == 15
    with pytest.raises(BadInputError, match="no frame between 9"):
        load_video(clip, 4, start=9.0, end=10.0)


def test_equal_frames_give_equal_bytes(clip: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    write_video(again, render(sample_scene("moving_direction", random.Random(0))), FPS)
    assert again.read_bytes() == clip.read_bytes()


def test_missing_and_damaged_files(clip: Path, tmp_path: Path) -> None:
    bad = {
        "empty.mp4": b"",
        "text.mp4": b"this is not a video\n" * 50,
        "half.mp4": clip.read_bytes()[: clip.stat().st_size // 2],
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInputError, match=name):
            load_video(tmp_path / name, 8)
    with pytest.raises(BadInputError, match="no such video file"):
        load_video(tmp_path / "missing.mp4", 8)


def test_audio_only(tmp_path: Path) -> None:
    path = tmp_path / "audio.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadInputError, match="no video stream"):
        load_video(path, 8)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_stream_is_never_filled_up(tmp_path: Path, share: float) -> None:
    """Matroska has its index in front, so a cut file opens; missing frames must not be replaced."""
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    frames = np.random.default_rng(0).integers(0, 255, (32, 64, 64, 3)).astype(np.uint8)
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"threads": "1"})
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    expected, _ = load_video(whole, 32)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    try:
        got, metadata = load_video(cut, 8)
    except BadInputError as error:
        assert "cut.mkv" in str(error)
    else:
        assert (got == expected[metadata["frames_indices"]]).all()
