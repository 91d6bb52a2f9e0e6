"""The clock of a clip: when each of its frames is shown."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from prune.errors import BadInputError


@dataclass(frozen=True)
class Timeline:
    """When each frame is shown, in whole units since the start of the file.

    Attributes:
        starts: when frame k appears, ascending.
        stop: when the last frame disappears.
        unit: seconds per unit.
        rate: frames per second where it is constant, else None.
    """

    starts: Sequence[int]
    stop: int
    unit: Fraction
    rate: Fraction | None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def fps(self) -> Fraction:
        """Frames per second: the constant rate, else the mean."""
        return self.rate or len(self) / ((self.stop - self.starts[0]) * self.unit)

    def time(self, index: int) -> Fraction:
        """Seconds at which frame `index` appears."""
        return self.starts[index] * self.unit

    def shown_at(self, moment: Fraction) -> int:
        """Index of the frame that is shown at `moment`, in units."""
        return max(0, bisect_right(self.starts, moment) - 1)

    def window(self, start: float | None, end: float | None) -> tuple[Fraction, Fraction]:
        """The part between two times in seconds, cut to what is shown, in units.

        Raises:
            BadInputError: nothing is shown between them.
        """
        # str: the shortest decimal, so that 0.3 is three tenths and not a little less.
        low = self.starts[0] if start is None else Fraction(str(float(start))) / self.unit
        high = self.stop if end is None else Fraction(str(float(end))) / self.unit
        if low > high or low >= self.stop or high < self.starts[0]:
            first, last = float(self.time(0)), float(self.stop * self.unit)
            raise BadInputError(
                f"no frame between {start} s and {end} s: the video shows {first:g} s to {last:g} s"
            )
        return Fraction(max(low, self.starts[0])), Fraction(min(high, self.stop))


def constant(count: int, rate: Fraction, first: Fraction = Fraction(0)) -> Timeline:
    """`count` frames at a constant rate, the first at `first` seconds."""
    unit = Fraction(1, (first.denominator * rate.numerator))
    offset, step = int(first / unit), int(1 / rate / unit)
    starts = range(offset, offset + count * step, step)
    return Timeline(starts, offset + count * step, unit, rate)


def timeline(
    ticks: Sequence[int], duration: int | None, zero: int, tick: Fraction, rate: Fraction | None
) -> Timeline:
    """A timeline from time stamps.

    Args:
        ticks: time stamps of the frames, ascending.
        duration: ticks for which the last frame is shown, if that is known.
        zero: the time stamp at which the file starts.
        tick: seconds per tick.
        rate: the frame rate that the header states; a hint.
    """
    span, count = ticks[-1] - ticks[0], len(ticks)
    measured = (count - 1) / (span * tick) if span else None
    for candidate in (rate, measured and measured.limit_denominator(1001)):
        if candidate and _is_constant(ticks, 1 / (candidate * tick)):
            return constant(count, candidate, (ticks[0] - zero) * tick)
    mean = Fraction(span, count - 1) if span else 1 / ((rate or Fraction(25)) * tick)
    stop = ticks[-1] + (duration or max(1, round(mean)))
    return Timeline([t - zero for t in ticks], stop - zero, tick, None)


def _is_constant(ticks: Sequence[int], step: Fraction) -> bool:
    """Whether the time stamps are `step` apart, but for the rounding to whole ticks."""
    numerator, denominator = step.as_integer_ratio()
    limit = min(denominator, numerator // 4)
    first = ticks[0]
    return all(abs((t - first) * denominator - k * numerator) <= limit for k, t in enumerate(ticks))
