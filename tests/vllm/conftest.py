"""Keeps these tests out of environments without vLLM; `make test-vllm` has one."""

import os
from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("vllm") is None else []

# Read when vLLM is imported. One process, so that tests see its scheduler.
os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL="WARNING",
    VLLM_NO_USAGE_STATS="1",
)
