"""A model named `prune` for lm-eval and lmms-eval, and video benchmarks as tasks of lm-eval.

Both find their model by an entry point; neither is imported before it is needed.
"""

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"
"""For lm-eval's `--include_path` and `TaskManager(include_path=...)`."""
