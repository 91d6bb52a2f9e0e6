import os
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The cases are so small that threads wait for each other ten times longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
