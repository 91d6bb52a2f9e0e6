"""The arrows of the design: data goes one way, and so do imports."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "kernels": ["prune.", "!prune.kernels"],
    "prune/plan": [
        "prune.models",
        "prune.runtime",
        "prune.trace",
        "prune.evaluate",
        "transformers",
    ],
    "prune/report": ["prune.models", "prune.runtime", "prune.trace", "transformers", "prune.cli"],
    "prune/families": ["prune.segments", "prune.runtime", "prune.plan", "prune.trace"],
    "prune/runtime": ["prune.trace", "prune.report", "prune.checkpoint.export", "prune.cli"],
    "prune/trace": ["prune.report", "prune.checkpoint.export", "prune.cli", "prune.measure"],
    "prune/evaluate": ["prune.report", "prune.checkpoint.export", "prune.cli", "prune.trace"],
    "prune/learn": ["prune.report", "prune.trace", "prune.measure", "prune.cli"],
    "prune/measure": ["prune.report", "prune.checkpoint", "prune.cli"],
    "prune/checkpoint": ["prune.measure", "prune.learn", "prune.trace", "prune.cli"],
}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_arrows(folder: str) -> None:
    rules = FORBIDDEN[folder]
    allowed = tuple(rule[1:] for rule in rules if rule.startswith("!"))
    banned = tuple(rule for rule in rules if not rule.startswith("!"))
    for path in (ROOT / folder).rglob("*.py"):
        wrong = {n for n in _imports(path) if n.startswith(banned) and not n.startswith(allowed)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_kernels_need_torch_alone() -> None:
    code = (
        "import sys; sys.modules['transformers'] = sys.modules['pydantic'] = None;"
        "from prune.kernels import segment_attention"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent)


def test_the_kernels_package_of_others_is_not_shadowed() -> None:
    # Ours is prune.kernels only; a top-level `kernels` must never resolve to this repository.
    code = "import importlib.util as u; s = u.find_spec('kernels');print(s.origin if s else '')"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT.parent
    )
    assert str(ROOT) not in run.stdout
    assert importlib.util.find_spec("prune.kernels") is not None


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, prune.cli; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
