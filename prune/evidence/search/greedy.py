"""Full greedy search (2509.22496, algorithm 1): every remaining region is a candidate each time."""

from collections.abc import Callable

from prune.evidence.objective import Objective, first_best


def greedy(
    objective: Objective, on_step: Callable[[int, float], None] = lambda placed, best: None
) -> list[int]:
    """Order regions by adding the one that makes F greatest, the candidates of a step in a batch.

    Asks for F of `R (R + 1) / 2` sets, each two forward passes.
    """
    chosen: list[int] = []
    rest = list(range(objective.num_regions))
    best = -float("inf")
    while rest:
        values = objective.with_each(chosen, rest)
        index = first_best(values)
        best = max(best, float(values[index]))
        chosen.append(rest.pop(index))
        on_step(len(chosen), best)
    return chosen


def greedy_one_at_a_time(objective: Objective) -> list[int]:
    """The same ordering by asking for one candidate at a time, as the published code does."""
    chosen: list[int] = []
    rest = list(range(objective.num_regions))
    while rest:
        values = [objective.with_each(chosen, [candidate])[0] for candidate in rest]
        best = max(values)
        index = next(i for i, value in enumerate(values) if value >= best - 1e-6)
        chosen.append(rest.pop(index))
    return chosen
