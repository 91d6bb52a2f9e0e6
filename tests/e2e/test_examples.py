"""The notebooks of `examples/` run from top to bottom, and each picture is one."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def _run(source: str, names: dict[str, Any]) -> object:
    """Run a cell, and return the value of its last line, which a notebook shows."""
    *lines, last = ast.parse(source).body
    shown = isinstance(last, ast.Expr)
    body = lines if shown else [*lines, last]
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    shown = [_run("".join(cell["source"]), names) for cell in cells]
    assert not any(cell["outputs"] for cell in cells), "outputs are not kept in the repository"
    pictures = [value for value in shown if isinstance(value, Image)]
    assert len(pictures) == 2 and all(min(picture.size) > 300 for picture in pictures)
    assert shown[-1] in ("A", "B")
