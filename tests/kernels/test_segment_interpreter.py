import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
HERE = Path(__file__).parent


# Four minutes on two quiet cores; machines differ threefold.
@pytest.mark.timeout(2400)
@pytest.mark.skipif(torch.cuda.is_available(), reason="the cases run on the GPU itself")
def test_triton_cases_in_the_interpreter() -> None:
    """Triton interprets or compiles for a whole process, so its cases get one of their own."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "not gpu"]
    child = subprocess.run(
        [sys.executable, "-m", "pytest", *options, HERE / "triton_cases"],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stdout[-6000:] + child.stderr[-2000:]
