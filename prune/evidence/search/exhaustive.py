"""Exhaustive search: the best ordering of a few regions, to measure how far greedy is from it."""

from itertools import combinations

import numpy as np

from prune.errors import UsageError
from prune.evidence.objective import Objective

MOST = 12


def exhaustive(objective: Objective) -> list[int]:
    """The ordering whose first 1, 2, ... regions have the greatest sum of F.

    Every set of regions is scored once (`2 ** R` forward passes), and the best chain of sets found
    by dynamic programming.

    Raises:
        UsageError: there are too many regions.
    """
    count = objective.num_regions
    if count > MOST:
        raise UsageError(f"{count} regions are too many to try every set: at most {MOST}")
    numbers = np.arange(2**count)
    sets = (numbers[:, None] >> np.arange(count) & 1).astype(bool)
    value = objective.values(sets)
    total = np.zeros(2**count)
    last = np.zeros(2**count, int)
    for size in range(1, count + 1):
        for members in combinations(range(count), size):
            number = sum(1 << i for i in members)
            before = [total[number - (1 << i)] for i in members]
            last[number] = members[int(np.argmax(before))]
            total[number] = value[number] + max(before)
    order, number = [], 2**count - 1
    while number:
        order.append(int(last[number]))
        number -= 1 << order[-1]
    return order[::-1]


def chain_value(objective: Objective, order: list[int]) -> float:
    """Mean F of an ordering's first 1 to R regions, which `exhaustive` maximises."""
    sets = np.zeros((len(order), len(order)), bool)
    for rank, region in enumerate(order):
        sets[rank:, region] = True
    return float(objective.values(sets).mean())
