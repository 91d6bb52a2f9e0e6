"""Hallucination of both models, in words."""

from prune.report.numbers import spoken
from prune.results.existence import Existence


def told_existence(seen: Existence) -> str:
    """Absent things that both models say are there, and things there that they miss."""
    text = (
        f"{seen.before.value:.1f} → {seen.after.value:.1f}% of {seen.absent} absent things are "
        f"said to be there, {spoken(seen.change)} points"
    )
    if seen.missed_before and seen.missed_after and seen.missed_change:
        text += (
            f"; {seen.missed_before.value:.1f} → {seen.missed_after.value:.1f}% of "
            f"{seen.questions - seen.absent} things that are there are missed, "
            f"{spoken(seen.missed_change)} points"
        )
    return f"{text}."
