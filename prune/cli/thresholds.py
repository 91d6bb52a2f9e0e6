"""Thresholds of commands: what misses one ends the command with exit code 10."""

from enum import StrEnum
from typing import TYPE_CHECKING

from prune.errors import ThresholdError

if TYPE_CHECKING:
    from prune.results.interval import Interval


class FailOn(StrEnum):
    """The verdicts of a report with which `prune export` fails."""

    no = "no"
    perhaps = "perhaps"


def check_drop(difference: "Interval", points: float) -> None:
    """Raise `ThresholdError` if the measured loss, in points of accuracy, is over the limit."""
    if -difference.value <= points:
        return
    settled = "its whole interval is" if -difference.high > points else "the interval reaches under"
    raise ThresholdError(
        f"--max-drop {points:g}: the measured loss is {-difference.value:.1f} points "
        f"[{-difference.high:.1f}, {-difference.low:.1f}] ({settled})"
    )


def check_verdict(tone: str, headline: str, fail_on: FailOn) -> None:
    """Raise `ThresholdError` unless a verdict is good enough.

    Args:
        tone: the verdict's: "good", "open" or "bad".
        headline: its first words.
        fail_on: `no` fails a bad verdict, `perhaps` an open one as well.
    """
    if tone == "bad" or (tone == "open" and fail_on == FailOn.perhaps):
        raise ThresholdError(f"--fail-on {fail_on}: the verdict is {headline!r}")
