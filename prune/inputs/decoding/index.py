"""The index of a video file: its clock, and where decoding may start.

Time stamps come from the packets, so that nothing is decoded to find them. Streams without them,
or whose time stamps run backwards, are decoded once to count their frames.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from prune.errors import BadInputError
from prune.inputs.decoding.container import Source, opened
from prune.inputs.decoding.counting import counted_timeline
from prune.inputs.decoding.damage import ErrorLog
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.packets import Packet, have_clock, read_packets
from prune.inputs.decoding.timeline import Timeline, timeline


@dataclass(frozen=True)
class Index:
    """What decoding needs to know about a file.

    Attributes:
        timeline: when each frame is shown.
        marks: the time stamp of each frame in ticks; None where frames are found by counting.
        keys: time stamp and packet number of each packet at which decoding may start.
        format: FFmpeg's name of the file's format.
        tick: seconds per tick.
        size: width and height of the first frame as coded.
        aspect: width of a pixel over its height.
    """

    timeline: Timeline
    marks: Sequence[int] | None
    keys: Sequence[tuple[int, int]]
    format: str
    tick: Fraction
    size: tuple[int, int]
    aspect: Fraction | None

    def key(self, mark: int) -> tuple[int, int]:
        """The last key at or before a time stamp."""
        return self.keys[max(0, bisect_right(self.keys, mark, key=lambda key: key[0]) - 1)]


def index(path: Path, limits: Limits) -> Index:
    """Read a file's index.

    Raises:
        BadInputError: it holds no frames, is truncated, or exceeds a limit.
    """
    with ErrorLog(True) as log, opened(path, limits) as source:
        packets = read_packets(source, limits, log)
        if have_clock(source, packets):
            clock, marks, keys = _stamped(source, packets)
            return Index(clock, marks, keys, *_shape(source))
    with opened(path, limits) as source:
        first, shape = _first_key(packets), _shape(source)
        return Index(counted_timeline(source, first, limits), None, [(0, first)], *shape)


def _shape(source: Source) -> tuple[str, Fraction, tuple[int, int], Fraction | None]:
    stream = source.stream
    size = (stream.codec_context.width, stream.codec_context.height)
    return source.format, stream.time_base, size, stream.sample_aspect_ratio


def _first_key(packets: Sequence[Packet]) -> int:
    return next((n for n, p in enumerate(packets) if p.is_key), 0)


def _stamped(
    source: Source, packets: Sequence[Packet]
) -> tuple[Timeline, list[int], list[tuple[int, int]]]:
    first = _first_key(packets)
    timed = [(p.pts, n, p) for n, p in enumerate(packets) if p.pts is not None]
    keys = sorted((pts, n) for pts, n, p in timed if p.is_key) or [min(timed)[:2]]
    # What precedes the first key, in the file or in time, cannot be decoded. Two packets of one
    # time are one frame: a hidden one and the one that shows it.
    durations = {
        pts: p.duration
        for pts, n, p in timed
        if n >= first and pts >= keys[0][0] and not p.is_hidden
    }
    if not durations:
        raise BadInputError("the video has no frames")
    marks = sorted(durations)
    zero, tick = source.zero(marks[0]), source.stream.time_base
    return timeline(marks, durations[marks[-1]], zero, tick, source.rate), marks, keys
