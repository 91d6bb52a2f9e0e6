"""Opening of media files: known formats only, and only the file itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.stream import Disposition

from prune.errors import BadInputError
from prune.inputs.decoding.cuts import is_cut_off
from prune.inputs.decoding.limits import MAX_SECONDS, Limits

_FORMATS = (
    "apng,asf,avi,bmp_pipe,dv,flv,gif,h261,h263,h264,hevc,ivf,jpeg_pipe,m4v,matroska,mjpeg,mov,"
    "mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,png_pipe,rm,tiff_pipe,vc1,vvc,webm,webp_anim,"
    "webp_pipe,yuv4mpegpipe"
)
"""Formats that hold their own data; playlists, scripts and session descriptions are not here."""
_WITHOUT_CLOCK = {"h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "vc1", "vvc"}
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0\n", b"v=0\r\n", b"<?xml", b"<MPD", b"[playlist]")


@dataclass(frozen=True)
class Source:
    """An open file and its main video stream."""

    container: Any
    stream: Any

    @property
    def format(self) -> str:
        """FFmpeg's name of the format."""
        return str(self.container.format.name)

    @property
    def has_clock(self) -> bool:
        """Whether the format carries time stamps."""
        return self.format not in _WITHOUT_CLOCK

    @property
    def flags_cuts(self) -> bool:
        """Whether a packet flagged as corrupt is one that is cut off."""
        # A transport stream flags what follows a gap in its numbering, whole or not.
        return self.format != "mpegts"

    @property
    def rate(self) -> Fraction | None:
        """Frames per second as the header states them."""
        inside = None if self.has_clock else self.stream.codec_context.framerate
        return inside or self.stream.average_rate or self.stream.guessed_rate or None

    def zero(self, first: int) -> int:
        """The time stamp of second 0, given the first frame's; another stream may start earlier."""
        start, tick = self.container.start_time, self.stream.time_base
        # AVI counts frames; an offset is only the decoder's delay, guessed.
        if start is None or self.format == "avi":
            return first
        zero = min(first, round(Fraction(start, 1_000_000) / tick))
        # The container's clock has microseconds.
        return first if (first - zero) * tick < Fraction(1, 1000) else zero


class _Anonymous:
    """A file without a name, so that its format follows from its bytes alone."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Source]:
    """Open a file.

    Raises:
        BadInputError: it cannot be read, is no video, or exceeds a limit by its own account.
    """
    try:
        with path.open("rb") as file:
            _check(file)
        with path.open("rb", buffering=0) as file:
            with _container(file, limits) as container:
                yield Source(container, _main_stream(container, limits))
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise BadInputError(f"cannot decode this video: {error.strerror or error}") from None
    except OSError as error:
        raise BadInputError(f"cannot read the file: {error.strerror}") from None


def _check(file: BinaryIO) -> None:
    if file.read(16).lstrip().startswith(_PLAYLISTS):
        raise BadInputError("a playlist or a description of a stream, not a video")
    file.seek(0)
    if is_cut_off(file):
        raise BadInputError("the file is truncated: it ends before its last frame")


def _container(file: BinaryIO, limits: Limits) -> Any:
    try:
        return av.open(
            _Anonymous(file),
            options={"max_pixels": str(2 * limits.pixels)},
            container_options={"format_whitelist": _FORMATS, "protocol_whitelist": ""},
            metadata_errors="replace",
            buffer_size=2**17,
        )
    except (av.InvalidDataError, av.ArgumentError, av.EOFError):
        raise BadInputError("not a video, or its header is damaged or cut off") from None


def _main_stream(container: Any, limits: Limits) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise BadInputError("the file holds no video stream")
    context = stream.codec_context
    if context.codec is None:
        raise BadInputError("the video's codec is not known")
    width, height = context.width, context.height
    seconds = (container.duration or 0) / 1e6
    if width * height > limits.pixels or stream.frames > limits.frames or seconds > MAX_SECONDS:
        raise BadInputError(
            f"{width}x{height}, {stream.frames} frames, {seconds:.0f} s: too large to decode"
        )
    if width < 1 or height < 1:
        raise BadInputError("the video has no picture size")
    # Sizes change in mid-stream. FFmpeg counts padding, so that the exact limit is checked here.
    context.options = {"max_pixels": str(2 * limits.pixels), "err_detect": "crccheck"}
    # Threads pay from about this size on; below it, starting them takes longer than decoding.
    context.thread_type = "AUTO" if width * height > 320 * 240 else "NONE"
    # Each thread holds frames of its own.
    context.thread_count = min(4, os.cpu_count() or 1)
    return stream
