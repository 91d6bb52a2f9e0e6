"""Every picture of a page can be drawn again, by commands that its page shows."""

import re

import pytest

from benchmarks.docs_figures import DOCS, MEASURED, ROOT, SHOWN, command

PICTURE = re.compile(r"!\[[^\]]+\]\((?!https?:)(?:docs/)?([\w-]+)\.png\)")


def test_every_picture_is_shown_and_drawn() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    shown = {name for page in pages for name in PICTURE.findall(page.read_text(encoding="utf-8"))}
    files = {path.stem for kind in ("png", "svg", "jpg", "gif") for path in DOCS.rglob(f"*.{kind}")}
    assert shown == files == {*SHOWN, *MEASURED}


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_the_commands_of_its_pictures(name: str) -> None:
    shown = SHOWN[name]
    for out in shown.outs:
        words = command(shown.page, out)
        assert words[words.index("--out") + 1] == out
    assert shown.made.startswith(shown.outs[-1]) and shown.made.endswith((".png", ".html"))
    with pytest.raises(ValueError, match="0 commands with --out nowhere"):
        command(shown.page, "nowhere")


@pytest.mark.parametrize("script", MEASURED.values())
def test_a_script_draws_what_it_measured(script: str) -> None:
    assert '"draw"' in (ROOT / "benchmarks" / script).read_text(encoding="utf-8")
