import os

import pytest
import torch
from segment_checks import poison_empty

# Without it MKL rounds by the alignment of its operands, and equal bits are luck.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

# The Triton cases need a GPU or the interpreter, which `test_segment_interpreter` starts: a process
# either compiles or interprets.
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore = ["triton_cases"]


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    poison_empty(monkeypatch)


OPEN = ("test_segment_aot.py",)
"""Checks of the kernels that do not hold yet: the kernels are not finished, and nobody may take a
green run for more than it is."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(name in item.nodeid for name in OPEN):
            item.add_marker(pytest.mark.xfail(reason="segment attention is not finished"))
