"""Every command that a page shows works in the order of the page, on fewer clips."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prune.cli.app import app
from prune.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"```(?:console|sh|bash)?\n(.*?)```", re.DOTALL)
READERS_OWN = ("/data/", "PRUNED", "localhost")
"""What a command names that only a reader has."""

FEWER = {"--limit": "2", "--per-task": "1"}


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `prune` command of a page that needs no data of the reader's."""
    text = "\n".join(FENCE.findall(page.read_text())).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        line = line.removeprefix("$ ")
        if line.startswith("prune ") and not any(theirs in line for theirs in READERS_OWN):
            words = shlex.split(line, comments=True)[1:]
            found.append(["tiny" if word == "MODEL" else word for word in words])
    return found


def test_there_are_commands() -> None:
    assert COMMANDS and sum(len(commands(page)) for page in PAGES) > 5


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("prune.harness.tasks.documents.TINY_CLIPS", 2)
    monkeypatch.setattr("prune.workflows.plan.MAX_RUNS", 12)
    for words in commands(page):
        for option, value in FEWER.items():
            if option in words:
                words[words.index(option) + 1] = value
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"prune {shlex.join(words)}: {done.exception!r}"
        if "--out" in words and "--show-prompt" not in words:
            out = Path(words[words.index("--out") + 1])
            assert out.stat().st_size, f"prune {shlex.join(words)} wrote no {out}"


LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for name, anchor in LINK.findall(prose):
        target = page.parent / name if name else page
        assert target.is_file(), f"{page.name} links to {name}"
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else ()
        slugs = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
        assert not anchor or anchor in slugs, f"{page.name} links to {name}#{anchor}"
