"""Damaged and truncated files fail; no frame is ever put in another's place."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.errors import BadInputError
from prune.inputs.video import load_video
from tests.video.ffmpeg import errors

Corpus = Callable[[str], Path]

WHOLE = ["ntsc.mkv", "vp9.webm", "cut.mp4", "old.flv", "moving.gif", "theora.ogv", "b-frames.avi"]
WHOLE += ["photograph.jpg", "drawing.png", "still.webp", "grey-16.mkv", "raw.h264"]

FLIPPED = ["wide-pixels.mp4", "b-frames.avi", "grey-16.mkv", "photographs.avi", "av1.mp4"]
FLIPPED += ["old.wmv"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_truncated_file_fails(name: str, corpus: Corpus, tmp_path: Path) -> None:
    data = corpus(name).read_bytes()
    for share in (0.3, 0.6, 0.9):
        path = tmp_path / f"short-{name}"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(BadInputError, match=f"short-{name}: "):
            load_video(path, 8)


@pytest.mark.parametrize("name", FLIPPED)
def test_what_ffmpeg_reports_is_a_failure(name: str, corpus: Corpus, tmp_path: Path) -> None:
    """Other flips pass as valid data: only a checksum would tell."""
    path = corpus(name)
    data = path.read_bytes()
    want, _ = load_video(path, 24)
    reported = 0
    for seed in range(30):
        rng, flipped = random.Random(seed), bytearray(data)
        # Behind the header, whose bits move the clock or the display.
        flipped[rng.randrange(len(data) // 4, len(data) * 3 // 4)] ^= 1 << rng.randrange(8)
        other = tmp_path / f"flipped-{name}"
        other.write_bytes(flipped)
        if errors(other):
            reported += 1
            with pytest.raises(
                BadInputError, match=f"flipped-{name}: (a frame|the file) is damaged"
            ):
                load_video(other, 24)
        else:
            assert load_video(other, 24)[0].shape == want.shape
    assert reported > 0


def test_what_is_not_needed_may_be_damaged(corpus: Corpus, tmp_path: Path) -> None:
    """The last group of frames is damaged; the first frames do not refer to it."""
    path = corpus("open-groups.mkv")
    want, _ = load_video(path, 4, start=0, end=0.4)
    data = bytearray(path.read_bytes())
    data[-1500:-1300] = bytes(200)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(data)
    assert (load_video(path, 4, start=0, end=0.4)[0] == want).all()


def test_text_and_nothing(tmp_path: Path) -> None:
    for name, data in {"empty.mp4": b"", "text.mp4": b"not a video\n" * 50}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInputError, match=f"{name}: not a video"):
            load_video(tmp_path / name, 8)
