"""The cases that `--short` leaves of a test with several parameters."""

from collections.abc import Sequence
from typing import Any

Case = tuple[str, dict[str, Any]]
"""A test and the values of its parameters."""


def diagonal(cases: Sequence[Case]) -> list[bool]:
    """Which cases to keep, so that every value of every parameter is met, in other combinations.

    Of the parameters of a test, the first case has the first value of each, the next one the second
    of each and so on; one with fewer values begins again. What such cases miss, of a test that does
    not have all combinations, is kept as well.
    """
    known: dict[tuple[str, str], dict[int, int]] = {}
    for test, values in cases:
        for name, value in values.items():
            # The cases of a test share the objects that it is parametrized by.
            seen = known.setdefault((test, name), {})
            seen.setdefault(id(value), len(seen))

    def on_it(test: str, values: dict[str, Any]) -> bool:
        places = [
            (known[test, name][id(value)], len(known[test, name])) for name, value in values.items()
        ]
        most = max((size for _, size in places), default=1)
        return any(all(place == turn % size for place, size in places) for turn in range(most))

    kept = [on_it(*case) for case in cases]
    met: set[tuple[str, str, int]] = set()
    for index in sorted(range(len(cases)), key=lambda index: not kept[index]):
        test, values = cases[index]
        found = {(test, name, id(value)) for name, value in values.items()}
        kept[index] |= not found <= met
        met |= found
    return kept
