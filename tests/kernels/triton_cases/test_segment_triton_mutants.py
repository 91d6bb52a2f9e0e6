"""The Triton kernels' mutants, in the same process as the other Triton cases."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from mutants.segment_mutants import TRITON, Mutant, is_found, mutated
from segment_cases import large, named
from segment_checks import check_matches_oracle

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def checks() -> Iterator[Callable[[], None]]:
    few = ["frame local", "window 1", "left padding", "per KV head, batch", "interleaved, removed"]
    few += ["cut decode", "windows across tiles", "neighbours that share other keys"]
    few += ["packed other frames"]
    for case in [c for c in named() + large() if c.name in few]:
        yield partial(check_matches_oracle, case, "triton", torch.float32, DEVICE)


@pytest.mark.parametrize("mutant", TRITON, ids=lambda m: m.name)
def test_triton_mutants_are_found(mutant: Mutant, tmp_path: Path) -> None:
    with mutated(mutant, tmp_path):
        assert is_found(checks())


def test_the_original_passes_the_same_checks(tmp_path: Path) -> None:
    with mutated(Mutant("nothing", "api.py", "import math\n", "import math\n"), tmp_path):
        assert not is_found(checks())
