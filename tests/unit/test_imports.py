"""The arrows of the design: data goes one way, and so do imports."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_GROUND = {"errors", "kernels", "io", "inputs", "families"}
_STATE = _GROUND | {"layout", "plan", "runtime", "checkpoint", "results", "journal", "evaluate"}

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "kernels": set(),
    "io": {"errors"},
    "families": {"errors"},
    "inputs": {"errors", "io", "families"},
    "tiny": {"errors", "io", "inputs"},
    "datasets": {"errors", "io", "inputs"},
    "layout": {"errors", "kernels", "inputs", "families"},
    "plan": {"errors", "io", "layout"},
    "runtime": {"errors", "kernels", "inputs", "families", "layout", "plan"},
    "checkpoint": {"errors", "kernels", "io", "families", "tiny", "layout", "plan", "runtime"},
    "results": {"errors", "io", "layout", "plan"},
    "journal": {"errors", "io", "inputs", "plan", "checkpoint"},
    "evaluate": _STATE - {"io", "journal", "evaluate"},
    "trace": _STATE,
    "lens": _STATE,
    "evidence": _STATE,
    "learn": _STATE,
    "bench": _STATE,
    "baselines": _STATE,
    "serve": {"errors", "kernels", "families", "layout", "plan", "checkpoint"},
    "harness": {"errors", "inputs", "plan", "journal", "checkpoint", "datasets", "tiny", "runtime"},
    "report": {"errors", "io", "inputs", "layout", "plan", "results", "evaluate"},
    "workflows": _STATE
    | {"tiny", "datasets", "trace", "lens", "evidence", "learn", "bench", "baselines"}
    | {"harness", "report"},
    "cli": {"errors", "inputs", "layout", "plan", "results", "journal", "evaluate", "workflows"},
}
"""The rooms that each room may import, over every folder of `prune` and `errors.py`."""

NO_TORCH = ("results", "report", "io")
"""Rooms that hold or draw data and never import torch themselves."""


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "kernels" if parts[0] == "kernels" else parts[1].removesuffix(".py")


def _files() -> list[Path]:
    package = [p for p in (ROOT / "prune").rglob("*.py") if p.parent != ROOT / "prune"]
    return [*package, ROOT / "prune" / "errors.py", *(ROOT / "kernels").rglob("*.py")]


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def _arrows() -> dict[str, dict[str, set[str]]]:
    """From each room to each other one that it imports, with the files that do."""
    arrows: dict[str, dict[str, set[str]]] = {room: {} for room in ALLOWED}
    for path in _files():
        for name in _imports(path):
            if name.startswith("prune.") and (other := name.split(".")[1]) != _room(path):
                arrows[_room(path)].setdefault(other, set()).add(str(path.relative_to(ROOT)))
    return arrows


def test_every_folder_has_its_arrows() -> None:
    folders = {p.name for p in (ROOT / "prune").iterdir() if (p / "__init__.py").is_file()}
    assert folders | {"errors", "kernels"} == set(ALLOWED)
    loose = {p.name for p in (ROOT / "prune").glob("*.py")}
    assert loose <= {"__init__.py", "__main__.py", "errors.py"}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_what_it_may(room: str) -> None:
    wrong = {other: files for other, files in _arrows()[room].items() if other not in ALLOWED[room]}
    assert not wrong


def test_rooms_have_no_circle() -> None:
    # Raises graphlib.CycleError, which names the circle.
    order = list(TopologicalSorter({a: set(b) for a, b in _arrows().items()}).static_order())
    assert set(order) == set(ALLOWED)
    assert list(TopologicalSorter(ALLOWED).static_order())


@pytest.mark.parametrize("room", NO_TORCH)
def test_data_rooms_do_without_torch(room: str) -> None:
    for path in (ROOT / "prune" / room).rglob("*.py"):
        assert not {n for n in _imports(path) if n.split(".")[0] in ("torch", "transformers")}


@pytest.mark.parametrize("room", ["plan", "report"])
def test_plan_and_report_load_no_model(room: str) -> None:
    for path in (ROOT / "prune" / room).rglob("*.py"):
        assert not {n for n in _imports(path) if n.startswith("transformers")}


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
