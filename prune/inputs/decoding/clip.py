"""Clips: a video file or a list of images, as a clock and pictures."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.container import opened
from prune.inputs.decoding.damage import DamageError, DamageWatch
from prune.inputs.decoding.frames import frames
from prune.inputs.decoding.index import index
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.packets import packets_of
from prune.inputs.decoding.pixels import Painter, shown_size, turn_of
from prune.inputs.decoding.timeline import Timeline, constant

_IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class Clip(Protocol):
    """What frames can be sampled from."""

    timeline: Timeline

    def pictures(self, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """RGB `[H, W, 3]` of the frames of ascending indices, all of one size, in order."""
        ...


class VideoClip:
    """A video file; `pictures` are as large as its first frame is shown."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._index = index(path, limits)
        self.timeline = self._index.timeline

    def pictures(self, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """RGB `[H, W, 3]` of the frames of ascending indices, in order."""
        painter = None
        for frame in frames(self._path, self._index, wanted, self._limits):
            turn = turn_of(frame, self._path)
            size = shown_size(*self._index.size, self._index.aspect, turn)
            painter = painter or Painter(size, self._limits)
            yield painter.paint(frame, turn)


class ImageClip:
    """Image files, one per frame; `pictures` are as large as the first one that is read."""

    def __init__(self, paths: Sequence[Path], rate: Fraction, limits: Limits) -> None:
        self._paths, self._limits = paths, limits
        self.timeline = constant(len(paths), rate)

    def pictures(self, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """RGB `[H, W, 3]` of the images of ascending indices, in order."""
        painter = None
        for i in wanted:
            try:
                frame = self._read(self._paths[i])
            except BadInputError as error:
                raise BadInputError(f"{self._paths[i].name}: {error}") from None
            turn = turn_of(frame, self._paths[i])
            size = shown_size(frame.width, frame.height, None, turn)
            painter = painter or Painter(size, self._limits)
            yield painter.paint(frame, turn)

    def _read(self, path: Path) -> Any:
        with opened(path, self._limits) as source, DamageWatch(source) as watch:
            for packet in packets_of(source):
                for frame in watch.decode(packet):
                    return frame
        raise DamageError("the image cannot be decoded")


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, in the order of the numbers in their names.

    Raises:
        BadInputError: there are none.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in _IMAGES and p.is_file()]
    if not found:
        raise BadInputError("the folder holds no images")
    return sorted(found, key=_numbered)


def _numbered(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts] + [(-1, path.name)]
