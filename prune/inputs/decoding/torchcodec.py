"""Decoding with torchcodec, where it is installed.

The clock, the limits and the sizes are PyAV's, and so are the frames wherever torchcodec fails,
gives a frame of another time, or cannot do what a player does. It does not tell which frames are
damaged, so that a damaged one may be concealed.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from prune.errors import BadInputError
from prune.inputs.decoding.clip import VideoClip
from prune.inputs.decoding.frames import frames
from prune.inputs.decoding.pixels import Painter, shown_size, turn_of

_UPRIGHT = (False, False, False)


class TorchcodecClip(VideoClip):
    """A video file whose frames torchcodec decodes."""

    def pictures(self, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """RGB `[H, W, 3]` of the frames of ascending indices, in order."""
        done = 0
        for picture in self._decoded(wanted):
            yield picture
            done += 1
        if done < len(wanted):
            yield from super().pictures(wanted[done:])

    def _decoded(self, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Pictures up to the first one that torchcodec does not give."""
        index = self._index
        turn = turn_of(next(frames(self._path, index, [0], self._limits)), self._path)
        is_mirrored = sum(turn) % 2 == 1
        # It turns frames but does not mirror them, and seeks well in these two formats alone.
        if index.marks is None or is_mirrored or not index.format.startswith(("mov", "matroska")):
            return
        painter = Painter(shown_size(*index.size, index.aspect, turn), self._limits)
        decoder = _decoder(self._path)
        for i in wanted:
            try:
                # Half a tick later, so that rounding cannot lead to the frame before.
                frame = decoder.get_frame_played_at(
                    float((index.marks[i] + Fraction(1, 2)) * index.tick)
                )
            except (RuntimeError, IndexError):
                return
            if abs(frame.pts_seconds - index.marks[i] * index.tick) > index.tick / 2:
                return
            picture = av.VideoFrame.from_ndarray(frame.data.numpy(), "rgb24")
            yield painter.paint(picture, _UPRIGHT)


def _decoder(path: Path) -> Any:
    try:
        decoders = import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError):
        raise BadInputError("torchcodec cannot be imported: use the pyav backend") from None
    return decoders.VideoDecoder(path, dimension_order="NHWC")
