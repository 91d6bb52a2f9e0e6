"""The report shows everything it was given, escapes it, and is drawn again from JSON alone."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prune.checkpoint.manifest import verify, write_manifest
from prune.errors import BadInputError
from prune.plan.plan import Plan
from prune.report.environment import code, inline, unbroken
from prune.report.numbers import si
from prune.report.page import card, html
from prune.results.export_result import RESULT_FILE, Result
from prune.workflows.report import redraw


class _Tags(HTMLParser):
    """The tags of a page with their attributes, and the ids that its links ask for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_every_part_is_shown(result: Result, plan: Plan) -> None:
    page = html(result, plan)
    for text in (
        "Should I ship this?",
        "+16.0 [+9.0, +23.0]",  # the rival's margin
        "video → last",
        "12.5%",  # what the removed pathway saves
        "9,000",
        "about 80 would",  # the calibration's warning
        "pruned attention was called 36 times",
        "40 of 56 token",
        "1.50x measured",
        "2.40x measured",  # benched later
        "12.5 J",
        "not reported",
        "out of memory",
        "became incorrect",
        "It does not rely on the same evidence",
        "prune demo",
        plan.sha256,
    ):
        assert text in page, text
    assert "60.0, 65.0%. 1 sample could not be used: " in " ".join(page.split())


def test_links_and_pictures_lead_somewhere_in_the_page(result: Result, plan: Plan) -> None:
    tags = _Tags(html(result, plan)).tags
    ids = {attrs["id"] for _, attrs in tags if "id" in attrs}
    links = [str(attrs["href"]) for tag, attrs in tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert {link for link in links if not link.startswith("#")} == {"audit.html"}
    assert all(str(a["src"]).startswith("data:image/") and a["alt"] for t, a in tags if t == "img")


def test_the_navigation_names_every_section_in_order(result: Result, plan: Plan) -> None:
    page = " ".join(html(result, plan).split())
    links = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', page)
    assert links == re.findall(r'<section id="([\w-]+)"><h2>(.*?)</h2>', page)
    assert len(links) == 10


def test_text_of_data_sets_is_text(result: Result, plan: Plan) -> None:
    page = html(result, plan)
    assert "&lt;script&gt;" in page and "{{ 7*7 }}" in page
    for tag, attrs in _Tags(page).tags:
        assert tag != "script" and not any(name.startswith("on") for name in attrs)
    assert "<chance>" not in page and "<much>" not in page
    assert result.accuracy is not None
    flip = dataclasses.replace(result.accuracy.flipped[0], id="<u>", task="<i>")
    accuracy = dataclasses.replace(result.accuracy, flipped=(flip,))
    asked = dataclasses.replace(result.asked[0], id="<u>")
    page = html(dataclasses.replace(result, accuracy=accuracy, asked=(asked,)), plan)
    assert page.count("&lt;u&gt;") == 2 and "&lt;i&gt;" in page
    assert "<u>" not in page and "<i>" not in page


def test_parts_that_were_not_measured_are_left_out(result: Result, plan: Plan) -> None:
    bare = dataclasses.replace(
        result, flow=None, search=None, accuracy=None, asked=(), baselines=(), shapes=(),
        latency=(), launched=None, benched=(), audit=None,
    )  # fmt: skip
    page = html(bare, plan)
    assert "Its accuracy was not measured" in page and "not measured" in card(bare, plan, {})
    tags = _Tags(page).tags
    assert {str(a["href"])[1:] for t, a in tags if t == "a"} == {
        "kept", "leaks", "savings", "repeat",
    }  # fmt: skip


def test_the_page_is_drawn_again_from_json_alone(
    result: Result, plan: Plan, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    result.save(folder / RESULT_FILE)
    plan.save(folder / "prune_plan.json")
    write_manifest(folder)
    assert Result.load(folder / RESULT_FILE) == result
    assert redraw(folder).read_text() == html(result, plan)
    assert verify(folder) == 4


def test_another_schema_is_refused(result: Result, tmp_path: Path) -> None:
    dataclasses.replace(result, schema_version=2).save(tmp_path / RESULT_FILE)
    with pytest.raises(BadInputError, match="export the model again"):
        Result.load(tmp_path / RESULT_FILE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"kept_edges": 5', '"kept_edges": "5"', "/kept_edges: Input should be a valid integer"),
        ('"kept_edges": 5', '"kept_edges": 5, "kept_edges": 6', "kept_edges"),
        ('"outcome": "broken"', '"outcome": null', "/audit/"),
        ('"frames": 16', '"frame": 16', "/shapes/1/frames: Field required"),
        ("{", "[", "not a prune report"),
    ],
)
def test_a_damaged_report_is_refused_with_the_place(
    result: Result, tmp_path: Path, old: str, new: str, said: str
) -> None:
    result.save(tmp_path / RESULT_FILE)
    text = (tmp_path / RESULT_FILE).read_text()
    assert old in text
    (tmp_path / RESULT_FILE).write_text(text.replace(old, new))
    with pytest.raises(BadInputError) as error:
        Result.load(tmp_path / RESULT_FILE)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1240, "1.24 kB"), (5.1e12, "5.1 TB")]
)
def test_si(value: float, text: str) -> None:
    assert si(value, "B") == text


@pytest.mark.parametrize(
    ("text", "shown", "as_code"),
    [
        ("org/a-1.5 (sealed)", "org/a-1.5 (sealed)", "`org/a-1.5 (sealed)`"),
        ("a_b*c", r"a\_b\*c", r"a\_b\*c"),
        ("<b>&", "&lt;b&gt;&amp;", "&lt;b&gt;&amp;"),
        ("a`b|c\nd", r"a\`b\|c d", r"a\`b\|c d"),
        ("[a](x)", r"\[a\](x)", r"\[a\](x)"),
    ],
)
def test_names_mean_nothing_in_a_model_card(text: str, shown: str, as_code: str) -> None:
    assert inline(text) == shown and code(text) == as_code


def test_an_option_is_not_cut_at_the_end_of_a_line() -> None:
    whole = '<span class="unbroken">--max-drop 0.5</span>'
    assert unbroken("the limit (--max-drop 0.5), <b> and -- 3") == (
        f"the limit ({whole}), &lt;b&gt; and -- 3"
    )
