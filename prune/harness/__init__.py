"""prune in lm-eval: a model named `prune`, and video benchmarks as its tasks.

Importing this registers the model, which is what lm-eval's `lm_eval.models` entry point does.
"""

from pathlib import Path

from prune.harness.model import PruneLM

TASKS = Path(__file__).parent / "tasks"
"""For lm-eval's `--include_path` and `TaskManager(include_path=...)`."""

__all__ = ["TASKS", "PruneLM"]
