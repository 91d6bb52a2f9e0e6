"""The packets of a video: what a file tells before anything is decoded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prune.errors import BadInputError
from prune.inputs.decoding.container import Source
from prune.inputs.decoding.damage import DamageError, ErrorLog
from prune.inputs.decoding.limits import Limits

CLOCK_JUMP = 10
"""Seconds; a longer gap in a transport stream is a change of clock, not a frame shown so long."""

_LEAVE_OUT = ("asf", "matroska")
"""Formats whose readers leave out what they cannot read, and say so in the log alone."""


@dataclass(frozen=True)
class Packet:
    """One packet; `pts`, `dts` and `duration` are in the stream's ticks.

    Attributes:
        pts: when its frame is shown.
        dts: when it is decoded.
        duration: for how long its frame is shown.
        is_key: decoding may start here.
        is_hidden: it is decoded, but its frame is cut from the video.
    """

    pts: int | None
    dts: int | None
    duration: int | None
    is_key: bool
    is_hidden: bool


def packets_of(source: Source) -> Iterator[Any]:
    """The packets of the main stream; the last one is empty and asks for the delayed frames."""
    for packet in source.container.demux(source.stream):
        # An empty packet in between repeats a frame.
        if packet.size or packet.dts is None:
            yield packet


def read_packets(source: Source, limits: Limits, log: ErrorLog) -> list[Packet]:
    """All packets of the main stream.

    Args:
        source: the file, just opened.
        limits: of what is decoded.
        log: entered before that.

    Raises:
        BadInputError: there are none or too many, or the last one is cut off.
    """
    packets, is_cut = [], False
    # Opening an ASF file reads packets already. Of Matroska it may complain of tracks that nobody
    # asked for.
    opening = [name for _, name, _ in log.messages]
    for p in packets_of(source):
        if not p.size:
            break
        packets.append(Packet(p.pts, p.dts, p.duration, p.is_keyframe, p.is_discard))
        is_cut = p.is_corrupt and source.flags_cuts
        if len(packets) > limits.frames:
            raise BadInputError(f"more than {limits.frames} frames: too large to decode")
    complains = len(log.messages) > len(opening) or "asf" in opening
    if complains and source.format.startswith(_LEAVE_OUT):
        raise DamageError("the file is damaged: a part of it cannot be read")
    if is_cut:
        raise DamageError("the file is truncated: its last frame is cut off")
    if not packets:
        raise BadInputError("the video has no frames")
    return packets


def have_clock(source: Source, packets: Sequence[Packet]) -> bool:
    """Whether the packets' time stamps say when each frame is shown."""
    if not source.has_clock or any(p.pts is None for p in packets if not p.is_hidden):
        return False
    # AVI has none; where frames are out of order, those that its reader makes up are wrong.
    if source.format == "avi" and any(p.pts != p.dts for p in packets):
        return False
    steps = [b - a for a, b in pairwise(p.dts for p in packets if p.dts is not None)]
    second = 1 / source.stream.time_base
    highest = CLOCK_JUMP * second if source.format == "mpegts" else float("inf")
    return -second / 10 <= min(steps, default=0) and max(steps, default=0) <= highest
