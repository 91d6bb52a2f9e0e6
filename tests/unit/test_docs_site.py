"""The site that `make docs` builds, its API page, and what pages list."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import prune
from prune.families import video_families

ROOT = Path(__file__).parents[2]
KERNEL = "kernels.segment_attention.api.segment_attention"


def test_the_api_page_lists_what_is_public() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    listed = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted([*(f"prune.{name}" for name in prune.__all__), KERNEL])


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {path.stem: path.read_text() for path in tmp_path.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    loaded = [
        address
        for text in pages.values()
        for tag in re.findall(r"<(?:script|link|img)\b[^>]*>", text)
        for address in re.findall(r"(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)", tag)
    ]
    assert not loaded
    for name in (*prune.__all__, "kernels.segment_attention"):
        assert f"prune.{name}" in pages["api"]


def test_the_design_lists_every_file_format() -> None:
    design = (ROOT / "DESIGN.md").read_text()
    listed = re.findall(r"^\|[^|]+\| (\d+) \| `(\S+)` \|$", design, re.MULTILINE)
    there = {
        path.relative_to(ROOT).as_posix(): version
        for path in (ROOT / "prune").rglob("*.py")
        for version in re.findall(r"^SCHEMA_VERSION = (\d+)$", path.read_text(), re.MULTILINE)
    }
    assert {path: version for version, path in listed} == there


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_families_of_a_page_are_those_that_run(page: str) -> None:
    text = (ROOT / page).read_text().split("## Families\n")[1].split("Other models")[0]
    known = set(video_families())
    assert set(re.findall(r"\w+", text.split("(")[0])) - {"and"} == known
