"""Keys of videos: what tells whether two questions are about the same one."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from prune.inputs.samples import Sample
from prune.io.files import names_in, sha256_of

BY_PATH = "path:"
"""Prefix of the key of a video without a hash: a file that is missing, or an empty folder."""


def video_key(video: Path) -> str:
    """The SHA-256 of a video file's bytes, whatever its name; else its path after `BY_PATH`.

    A file is read once, however many questions share it, unless it changes.
    """
    try:
        about = video.stat()
        if video.is_file():
            return _hashed(video, about.st_size, about.st_mtime_ns)
    except OSError:  # The sample fails when it is decoded, with the reason.
        pass
    return f"{BY_PATH}{video}"


def video_keys(samples: Sequence[Sample]) -> list[str]:
    """The key of each sample's video; frames that are images have one key together."""
    return [_together(sample.files) for sample in samples]


def _together(files: Sequence[Path]) -> str:
    single = [f for file in files for f in (_images(file) if file.is_dir() else [file])]
    keys = [video_key(file) for file in single]
    if len(keys) == 1:
        return keys[0]
    if not keys or any(key.startswith(BY_PATH) for key in keys):
        return f"{BY_PATH}{files[0]}"
    return sha256("\n".join(keys).encode()).hexdigest()


def _images(folder: Path) -> list[Path]:
    return [folder / name for name in names_in(folder)]


@cache
def _hashed(video: Path, size: int, modified: int) -> str:
    return sha256_of(video)
