"""lm-eval integration: a model named `prune`, and video benchmarks as tasks.

Importing it registers the model, as the entry point `lm_eval.models` does.
"""

from pathlib import Path

from prune.harness.model import PruneLM

TASKS = Path(__file__).parent / "tasks"
"""For lm-eval's `--include_path` and `TaskManager(include_path=...)`."""

__all__ = ["TASKS", "PruneLM"]
