"""The clock of streams whose packets do not tell it: every frame is decoded and counted."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from prune.errors import BadInputError
from prune.inputs.decoding.container import Source
from prune.inputs.decoding.damage import DamageError, DamageWatch
from prune.inputs.decoding.limits import Limits
from prune.inputs.decoding.packets import CLOCK_JUMP, packets_of
from prune.inputs.decoding.timeline import Timeline, constant, timeline

_DEFAULT_RATE = Fraction(25)

Stamp = tuple[int | None, int | None]
"""When a frame is shown and when it was decoded, in ticks, as far as known."""


def counted_timeline(source: Source, first: int, limits: Limits) -> Timeline:
    """The timeline of the frames from packet number `first` on, in the order they come out.

    Raises:
        BadInputError: one is damaged, or there are none or too many.
    """
    stamps = _stamps(source, first, limits)
    rate = source.rate or _DEFAULT_RATE
    if not source.has_clock:
        return constant(len(stamps), rate)
    tick = source.stream.time_base
    nominal = max(1, round(1 / (rate * tick)))
    highest = CLOCK_JUMP / tick if source.format == "mpegts" else float("inf")
    ticks = _steady(stamps, nominal, highest)
    zero = ticks[0] if stamps[0][0] is None else source.zero(ticks[0])
    return timeline(ticks, nominal, zero, tick, rate)


def _stamps(source: Source, first: int, limits: Limits) -> list[Stamp]:
    stamps: list[Stamp] = []
    with DamageWatch(source) as watch:
        for number, packet in enumerate(packets_of(source)):
            if number < first:
                continue
            for frame in watch.decode(packet):
                if frame.is_corrupt:
                    raise DamageError("a frame is damaged")
                stamps.append((frame.pts, frame.dts))
                if len(stamps) > limits.frames:
                    raise BadInputError(f"more than {limits.frames} frames: too large to decode")
    if not stamps:
        raise BadInputError("the video has no frames")
    return stamps


def _steady(stamps: Sequence[Stamp], nominal: int, highest: float) -> list[int]:
    """Ascending times of frames in the order shown; where the clock fails, `nominal` apart."""
    clock = min(zip(*stamps, strict=True), key=_faults)
    ticks = [clock[0] or 0]
    for before, after in pairwise(clock):
        step = nominal if before is None or after is None else after - before
        ticks.append(ticks[-1] + (step if 0 < step <= highest else nominal))
    return ticks


def _faults(clock: Sequence[int | None]) -> int:
    return sum(a is None or b is None or b <= a for a, b in pairwise(clock))
