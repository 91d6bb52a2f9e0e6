"""Docstrings, messages and docs in idiomatic technical English."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(p for room in ("prune", "kernels") for p in (ROOT / room).rglob("*.py"))
TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "kernels").rglob("*.md")),
    *sorted((ROOT / "prune").rglob("*.j2")),
    *MODULES,
]

_UNIT = r"(?:one|an? (?:bar|curve|file|item|list|number|panel|row|search|value))"
_UNITS = "(?:cells|clips|frames|numbers|programs|questions|regions|seconds|tokens|values)"
_EACH = (
    "(?:benchmark|call|clip|file|frame|group|head|image|knockout|layer|line|model|multiprocessor"
    "|object|panel|pathway|process|prompt|question|resample|row|run|sample|search|second|seed|step"
    "|subject|task|token|window)"
)

UNIDIOMATIC = {
    "resumes, continues": r"\b(?:goes|go|going|went) on (?:from|where|with)\b|\bgoes on\b",
    "active": r"\bin(?:to)? force\b",
    "per": rf"\b(?:{_UNIT} an?|{_UNITS} a) {_EACH}\b",
    "distinguished": r"\btold apart\b",
    "choose from": r"\bchoose of\b",
    "probably not, not measured yet": r"\bRather not\b|\bNobody knows\b",
}
"""What to write instead, and the phrases that it replaces."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_in_one_line_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no docstring"
    summary = docstring.partition("\n\n")[0]
    assert "\n" not in summary and summary.endswith("."), summary


@pytest.mark.parametrize("better", UNIDIOMATIC)
def test_phrases_that_were_replaced_do_not_come_back(better: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in TEXTS
        for match in re.finditer(UNIDIOMATIC[better], path.read_text())
    ]
    assert not found, found
