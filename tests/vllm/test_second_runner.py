"""vLLM's second model runner, which GPUs have by default, on a CPU (`interpreted.py`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_the_second_model_runner_answers_as_the_masked_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.vllm.interpreted", tmp_path],
        cwd=ROOT,
        # Where `make` has put Triton, out of the way of the other tests.
        env={**os.environ, "PYTHONPATH": str(Path(sys.prefix, "triton"))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    # The name of the last check; vLLM logs to the same stream.
    assert done.stdout.splitlines()[-1] == "logits_of_prompts"
