"""vLLM's second model runner on a CPU: its kernels are Triton's, whose interpreter runs them here.

`python -m tests.vllm.interpreted ROOT` runs `second_runner.py`, in a process of its own: this comes
before vLLM. vLLM asks for a Triton that compiles for CPUs, which no registry has; the interpreter
needs no compiler.
"""

import os
import sys
from pathlib import Path

os.environ.update(TRITON_INTERPRET="1", VLLM_USE_V2_MODEL_RUNNER="1")

from triton.backends import Backend, backends


class _Driver:
    @staticmethod
    def is_active() -> bool:
        return True


backends.clear()
backends["cpu"] = Backend(compiler=None, driver=_Driver)

if __name__ == "__main__":
    from tests.vllm.second_runner import main

    main(Path(sys.argv[1]))
