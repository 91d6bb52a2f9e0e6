"""Faults of kernels: what attention falls back to is said, and nothing runs dense in its place."""

import json
from pathlib import Path

import pytest

from tests.faults.conftest import two
from tests.faults.driver import Zygote

fault = pytest.mark.fault

NO_TRITON = "import sys; sys.modules['triton'] = None"
BROKEN = """
from importlib import import_module
kernel = import_module("prune.kernels.segment_attention.{module}")
from triton.compiler.errors import CompilationError
def broken(*given):
    raise CompilationError("tl.dot(q, k)", None, "no such instruction")
kernel.{name} = broken
"""


@fault(40)
def test_what_ran_is_named(exported: Path) -> None:
    """Without a GPU: `sdpa`."""
    report = json.loads((exported / "prune_report.json").read_text())
    kernels, calls = report["launched"]["kernels"], report["launched"]["calls"]
    assert kernels == {"sdpa": calls} and calls >= 12
    assert "attention by <code>sdpa</code>" in (exported / "report.html").read_text()


@fault(40)
@pytest.mark.parametrize("before", ["", NO_TRITON], ids=["no GPU", "no Triton"])
def test_without_a_gpu_or_triton(zygote: Zygote, clips: Path, exported: Path, before: str) -> None:
    command = ("eval", exported, "--data", two(clips))
    done = zygote.run(*command, before=before)
    assert done.code == 0, done.err
    asked = zygote.run(*command, before=before, env={"PRUNE_ATTENTION": "triton"})
    assert asked.code == 6 and "PRUNE_ATTENTION=triton cannot run on this machine" in asked.error
    assert ("triton package" if before else "CUDA device") in asked.error


@fault(40)
def test_an_attention_of_another_name(zygote: Zygote, clips: Path, exported: Path) -> None:
    done = zygote.run("eval", exported, "--data", two(clips), env={"PRUNE_ATTENTION": "fast"})
    assert done.code == 2 and "PRUNE_ATTENTION=fast: expected auto" in done.error


@fault(40)
@pytest.mark.parametrize(
    ("module", "name", "env", "said"),
    [
        ("triton", "triton_attention", {"PRUNE_ATTENTION": "triton", "TRITON_INTERPRET": "1"},
         "PRUNE_ATTENTION=triton cannot run on this machine"),
        ("api", "sdpa_attention", {}, "Triton cannot compile the kernel"),
    ],
    ids=["asked for", "in a run"],
)  # fmt: skip
def test_a_kernel_that_is_not_compiled(
    zygote: Zygote,
    clips: Path,
    exported: Path,
    module: str,
    name: str,
    env: dict[str, str],
    said: str,
) -> None:
    before = BROKEN.format(module=module, name=name)
    done = zygote.run("eval", exported, "--data", two(clips), env=env, before=before)
    assert done.code == 6 and said in done.error
