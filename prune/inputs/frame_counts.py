"""Numbers of frames of every clip: one, or several at each of which everything is asked."""

from collections.abc import Sequence

from prune.errors import UsageError


def frame_counts(given: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers that were given, in their order.

    Raises:
        UsageError: there is none, or one is below 1 or given twice.
    """
    counts = (given,) if isinstance(given, int) else tuple(given)
    if not counts or min(counts) < 1 or len(set(counts)) < len(counts):
        said = ",".join(map(str, counts))
        raise UsageError(f"--frames {said}: expected different numbers of 1 and more, such as 4,8")
    return counts
