"""The judgement of a plan that was searched to hallucinate less."""

from prune.report.judged_replies import Judged
from prune.report.numbers import spoken
from prune.results.existence import Existence


def judge_existence(seen: Existence | None) -> Judged:
    """Whether the plan says less often that absent things are there: by its whole interval."""
    if seen is None:
        return "open", "Perhaps", "No held-out question asks for an absent thing."
    asked = f"{seen.absent} questions about absent things"
    change = f"{spoken(seen.change)} points on {asked}"
    if seen.change.high < 0:
        return "good", "Yes", f"It hallucinates less: {change}."
    if seen.change.low > 0:
        return "bad", "No", f"It hallucinates more: {change}."
    if seen.change.value < 0:
        return "open", "Perhaps", f"It may hallucinate less: {change} cannot tell."
    return "bad", "No", f"It was not shown to hallucinate less: {change}."
