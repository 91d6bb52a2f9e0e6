"""The key of a video: its content, whatever its name; its path where it has none."""

import os
from pathlib import Path

import pytest

from prune.inputs import video_key as module
from prune.inputs.samples import Sample
from prune.inputs.video_key import BY_PATH, video_key, video_keys


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    one, copy, other = (tmp_path / name for name in ("one.mp4", "copy.mp4", "other.mp4"))
    one.write_bytes(b"clip")
    copy.write_bytes(b"clip")
    other.write_bytes(b"another clip")
    assert video_key(one) == video_key(copy) != video_key(other)


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def spy(path: Path) -> str:
        read.append(path)
        return path.read_text()

    monkeypatch.setattr(module, "sha256_of", spy)
    clip = tmp_path / "clip.mp4"
    clip.write_text("before")
    assert video_key(clip) == video_key(clip) == "before" and len(read) == 1
    clip.write_text("after!")
    os.utime(clip, ns=(1, 1))
    assert video_key(clip) == "after!" and len(read) == 2


def test_images_have_one_key_together(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("0.jpg", "1.jpg"))
    first.write_bytes(b"first")
    second.write_bytes(b"second")

    def keys(*videos: Path | tuple[Path, ...]) -> list[str]:
        return video_keys([Sample("x", video, "?", ("a", "b"), 0, "t") for video in videos])

    folder, images, turned, one = keys(tmp_path, (first, second), (second, first), first)
    assert folder == images and len({images, turned, one}) == 3
    second.unlink()
    assert keys((first, second)) == [f"{BY_PATH}{first}"]


def test_a_missing_file_has_its_path(tmp_path: Path) -> None:
    assert video_key(tmp_path / "gone.mp4") == f"{BY_PATH}{tmp_path / 'gone.mp4'}"
