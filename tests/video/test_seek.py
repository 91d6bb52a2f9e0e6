"""Few frames of a long clip: only what they need is decoded, and they are the same frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prune.inputs.decoding import frames as decoding
from prune.inputs.decoding.damage import DamageWatch
from prune.inputs.decoding.index import index
from prune.inputs.decoding.limits import Limits
from prune.inputs.video import load_video
from tests.video.ffmpeg import ffmpeg


class Counter(DamageWatch):
    """Counts packets that are decoded."""

    packets = 0

    def decode(self, packet: Any) -> list[Any]:
        Counter.packets += 1
        return super().decode(packet)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of 10 frames per second, a key every 50."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=600"]
    ffmpeg(*picture, "-c:v", "libx264", "-preset", "ultrafast", "-bf", 2, "-g", 50, path)
    return path


def test_eight_frames_of_ten_minutes(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "DamageWatch", Counter)
    Counter.packets = 0
    clip = index(long_clip, Limits())
    wanted = [375, 1125, 1875, 2625, 3375, 4125, 4875, 5625]
    some = [f.to_ndarray() for f in decoding.frames(long_clip, clip, wanted, Limits())]
    assert Counter.packets <= 6000 // 20
    every = list(decoding._every(long_clip, clip, [clip.marks[i] for i in wanted], Limits()))
    assert Counter.packets > 5600
    assert all((a == b.to_ndarray()).all() for a, b in zip(some, every, strict=True))


CODECS = ["cut.mp4", "cut.ts", "middle-of-group.ts", "size-changes.ts", "b-frames.avi"]
CODECS += ["open-groups.mp4", "open-groups.mkv", "intra-refresh.mp4", "hidden-frames.webm"]
CODECS += ["interlaced.mp4", "interlaced.mpg", "av1.mp4", "vp9.webm", "raw.hevc", "moving.gif"]


@pytest.mark.parametrize("name", CODECS)
def test_any_frame_alone_is_the_same_frame(name: str, corpus: Callable[[str], Path]) -> None:
    path = corpus(name)
    count = load_video(path, 1)[1]["total_num_frames"]
    every, about = load_video(path, count)
    for k in (0, 1, 6, 8, 9, 13, count - 1):
        second = about["frames_indices"][k] / about["fps"] + 0.01
        alone, _ = load_video(path, 1, second, second)
        assert (alone[0] == every[k]).all(), k
