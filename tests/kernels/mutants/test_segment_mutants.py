"""A suite that passes a broken kernel proves nothing: each mutant has to fail a check."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from mutants.segment_mutants import REFERENCE, SDPA, SHARED, Mutant, is_found, mutated
from segment_cases import named, random_case
from segment_checks import check_matches_oracle, check_matches_reference


def checks(impl: str) -> Iterator[Callable[[], None]]:
    for case in named():
        yield partial(check_matches_oracle, case, impl, torch.float64)
    if impl == "sdpa":
        for seed in range(60):
            yield partial(check_matches_reference, random_case(seed))


@pytest.mark.parametrize("mutant", [*SHARED, *SDPA], ids=lambda m: m.name)
def test_sdpa_mutants_are_found(mutant: Mutant, tmp_path: Path) -> None:
    with mutated(mutant, tmp_path):
        assert is_found(checks("sdpa"))


@pytest.mark.parametrize("mutant", REFERENCE, ids=lambda m: m.name)
def test_reference_mutants_are_found(mutant: Mutant, tmp_path: Path) -> None:
    with mutated(mutant, tmp_path):
        assert is_found(checks("reference"))


@pytest.mark.parametrize("impl", ["sdpa", "reference"])
def test_the_original_passes_the_same_checks(impl: str, tmp_path: Path) -> None:
    with mutated(Mutant("nothing", "api.py", "import math\n", "import math\n"), tmp_path):
        assert not is_found(checks(impl))
