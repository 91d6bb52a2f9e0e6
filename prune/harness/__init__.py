"""A model named `prune` for lm-eval and lmms-eval, and video benchmarks as tasks of lm-eval.

Where lm-eval is installed, importing this registers the model with it; lmms-eval finds its own by
an entry point.
"""

from importlib.util import find_spec
from pathlib import Path

if find_spec("lm_eval") is not None:
    from prune.harness import model as model

TASKS = Path(__file__).parent / "tasks"
"""For lm-eval's `--include_path` and `TaskManager(include_path=...)`."""
