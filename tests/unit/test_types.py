"""mypy sees the kernels, and checks everything strictly."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

SNIPPET = """
from typing import Any

import prune.kernels

def calls(x: Any) -> None:
    reveal_type(prune.kernels.segment_attention)
    reveal_type(prune.kernels.segment_attention(x, x, x, x, None, x, return_lse=True))
    attend = prune.kernels.segment_attention
    attend(x, x, x, x, None, x, impl="other")  # type: ignore[call-overload]
"""


def test_mypy_is_strict_everywhere() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert config["strict"] is True
    assert config["files"] == ["prune", "typings/prune/kernels"]
    assert not any("ignore_errors" in override for override in config["overrides"])


def test_mypy_knows_the_type_of_the_kernels(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    op = ROOT / "typings" / "prune" / "kernels" / "segment_attention"
    sources = [ROOT / "prune" / "__init__.py", op.parent / "__init__.py"]
    sources += [op / name for name in ("__init__.py", "api.py", "dispatch.py")]
    # Other modules are skipped: to parse torch alone takes a minute.
    command = [sys.executable, "-m", "mypy", "--follow-imports=skip", "--cache-dir", os.devnull]
    mypy = subprocess.run(
        [*command, *map(str, sources), str(snippet)], cwd=ROOT, capture_output=True, text=True
    )
    assert mypy.returncode == 0, mypy.stdout
    function, call = re.findall(r'Revealed type is "(.*)"', mypy.stdout)
    assert function.startswith("Overload(def (q: ")
    assert call == "tuple[Any, Any]"
