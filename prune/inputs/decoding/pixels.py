"""Decoded frames to RGB as a player shows them: upright, square pixels, one size."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.limits import Limits

Turn = tuple[bool, bool, bool]
"""Whether rows and columns are exchanged, then whether columns and rows are reversed."""

_EXIF_ORIENTATION = 0x0112
_EXIF_TURNS: dict[int, Turn] = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def turn_of(frame: Any, path: Path) -> Turn:
    """How a frame of the file must be turned to stand upright."""
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:
        # PyAV cannot list the side data of a photograph, which holds EXIF.
        return _exif_turn(path)
    if data is None:
        return False, False, False
    matrix = struct.unpack("=9i", bytes(data)[:36])
    # (x, y) is shown at (a x + c y, b x + d y).
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _exif_turn(path: Path) -> Turn:
    from PIL import Image

    with Image.open(path) as image:
        return _EXIF_TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1), (False, False, False))


def shown_size(width: int, height: int, aspect: Fraction | None, turn: Turn) -> tuple[int, int]:
    """Width and height at which frames are shown; pixels that are not square are stretched."""
    if aspect and aspect > 1:
        width = round(width * aspect)
    elif aspect and aspect > 0:
        height = round(height / aspect)
    return (height, width) if turn[0] else (width, height)


class Painter:
    """Converts decoded frames to RGB arrays of one size, with FFmpeg's own filters."""

    def __init__(self, size: tuple[int, int], limits: Limits) -> None:
        width, height = size
        if width * height > limits.pixels:
            raise BadInputError(f"shown as {width}x{height}: too large to decode")
        self.size = size
        self._graph = Graph()
        self._made_for: tuple[object, ...] = ()

    def paint(self, frame: Any, turn: Turn) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` at the painter's size."""
        exchanged, reverse_columns, reverse_rows = turn
        size = self.size[::-1] if exchanged else self.size
        made_for = (size, frame.width, frame.height, frame.format.name)
        if made_for != self._made_for:
            self._graph, self._made_for = _scaling(frame, *size), made_for
        self._graph.push(frame)
        picture = self._graph.pull().to_ndarray()
        if exchanged:
            picture = picture.transpose(1, 0, 2)
        if reverse_columns:
            picture = picture[:, ::-1]
        if reverse_rows:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def _scaling(frame: Any, width: int, height: int) -> Graph:
    graph = Graph()
    # Starting more costs more than a frame's conversion.
    graph.threads = 1
    nodes = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        ),
        graph.add("scale", f"{width}:{height}"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
