"""Orderings of regions, one file per search; `SEARCHES` names them.

A search takes an `Objective` and a function called after each choice with the number of regions
placed and the best F so far; it returns all regions, the most important first.
"""

from collections.abc import Callable

from prune.evidence.objective import Objective
from prune.evidence.search.doubling import doubling
from prune.evidence.search.efficient import efficient
from prune.evidence.search.greedy import greedy
from prune.evidence.search.lazy import lazy

Search = Callable[[Objective, Callable[[int, float], None]], list[int]]

SEARCHES: dict[str, Search] = {
    "full": greedy,
    "doubling": doubling,
    "efficient": efficient,
    "lazy": lazy,
}

__all__ = ["SEARCHES", "Search", "doubling", "efficient", "greedy", "lazy"]
