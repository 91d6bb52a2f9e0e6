"""Plans at their ends: those that remove nothing, and those that remove everything."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import prune
from prune.checkpoint.load import LoadedModel
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.kernels import Impl, segment_attention
from prune.plan.plan import Plan
from tests.faults.conftest import export, questions, two, write_plan
from tests.faults.driver import Ended, Zygote, write_lines

fault = pytest.mark.fault

ROLES = ["system", "video", "timestamp", "bridge", "question", "options", "tail", "last"]
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>`[a](javascript:alert(1))|"


def emptied(path: Path, layers: str, roles: list[str], **more: object) -> Path:
    rule = {"layers": layers, "queries": roles, "keys": ROLES, "reach": "none"}
    return write_plan(path, rules=[rule], **more)


@pytest.fixture(scope="module")
def everything(
    zygote: Zygote, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ended]:
    """An export under a plan that removes all edges; names and texts are HTML."""
    folder = tmp_path_factory.mktemp("everything")
    lines = questions(clips, 3, "test")
    for number, line in enumerate(lines):
        line["id"] = line["task"] = f"{XSS}{number}"
        line["question"] = f"{XSS} {line['question']}"
        line["options"] = [f"{option} {XSS}" for option in list(line["options"])]  # type: ignore[call-overload]
        line["answer"] = 0
    data = write_lines(clips / "hostile.jsonl", lines)
    plan = emptied(folder / "p.json", "0-11", ROLES, name=XSS)
    model = folder / XSS.replace("/", "")
    model.symlink_to(prune_model())
    return folder / "x", export(zygote, folder / "x", plan, data, model=model)


def prune_model() -> Path:
    from prune.checkpoint.load import TINY

    return TINY


@fault(21)
def test_a_plan_that_removes_everything(everything: tuple[Path, Ended]) -> None:
    folder, done = everything
    assert done.code == 0, done.err
    for name in ("video", "question", "options"):
        assert f"no path leads from the {name} to the answer" in done.err
        said = f"No path leads from the {name} to the answer: the pruned model cannot see it."
        assert said in (folder / "report.html").read_text()
        assert said in (folder / "README.md").read_text()
    report = json.loads((folder / "prune_report.json").read_text())
    assert report["kept_edges"] == 0
    assert "pruned model cannot see the video" in (folder / "report.html").read_text()


@fault(21)
@torch.no_grad()
@pytest.mark.parametrize(
    ("layers", "roles"),
    [("0-11", ROLES), ("3", ROLES), ("0-11", ["video"]), ("5-7", ["last"])],
    ids=["everything", "a layer", "the video's rows", "the answer's rows"],
)
def test_empty_rows_are_computed_as_zeros(
    tiny: LoadedModel, samples: list[Sample], tmp_path: Path, layers: str, roles: list[str]
) -> None:
    plan = Plan.load(emptied(tmp_path / "p.json", layers, roles))
    inputs = read(tiny.processor, samples[:2], 4)
    found = []
    for skip in ("all", "none"):
        with prune.apply(tiny.model, plan, processor=tiny.processor, skip=skip):
            found.append(tiny.model(**inputs).logits[:, -1])
            assert prune.launches(tiny.model).calls == [1] * 12
    assert all(torch.isfinite(logits).all() for logits in found)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


@fault(21)
@pytest.mark.parametrize("impl", ["reference", "sdpa"])
def test_a_query_without_keys_is_zero(impl: Impl) -> None:
    q, k, v = torch.randn(3, 1, 2, 5, 16)
    role, frame = torch.zeros(1, 5, dtype=torch.int8), torch.full((1, 5), -1, dtype=torch.int32)
    nothing = torch.full((1, 1, 1), -1, dtype=torch.int32)
    out, lse = segment_attention(q[None, 0], k[None, 0], v[None, 0], role, frame, nothing,
                                 impl=impl, return_lse=True)  # fmt: skip
    assert (out == 0).all() and (lse == -torch.inf).all()


@fault(22)
def test_a_plan_that_removes_nothing(
    zygote: Zygote, clips: Path, tiny: LoadedModel, samples: list[Sample], tmp_path: Path
) -> None:
    done = export(zygote, tmp_path / "x", write_plan(tmp_path / "p.json", rules=[]), two(clips))
    assert done.code == 0, done.err
    for name in ("report.html", "README.md"):
        text = re.sub(r"<[^>]+>", "", (tmp_path / "x" / name).read_text())
        assert re.search(r"\b0% of\s+(the )?attention edges", text), name
    report = json.loads((tmp_path / "x" / "prune_report.json").read_text())
    assert report["kept_edges"] == report["causal_edges"]
    model, processor = prune.load(tmp_path / "x")
    inputs = read(processor, samples[:2], 8)
    with torch.no_grad():
        found, dense = (m(**inputs).logits[:, -1] for m in (model, tiny.model))
    torch.testing.assert_close(found, dense, atol=1e-4, rtol=1e-4)


class _Page(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@fault(28)
def test_text_of_others_is_text_in_the_report(everything: tuple[Path, Ended]) -> None:
    folder, done = everything
    assert done.code == 0, done.err
    page = (folder / "report.html").read_text()
    tags = _Page(page).tags
    assert page.count("&lt;script&gt;alert(1)") >= 4, "model, plan, task and question are shown"
    assert not [tag for tag, attrs in tags if tag == "script" or any(n[:2] == "on" for n in attrs)]
    assert all(str(a["src"]).startswith("data:image/") for t, a in tags if t == "img")
    assert all(str(a["href"]).startswith("#") for t, a in tags if t == "a")
    (policy,) = [
        str(a["content"]) for t, a in tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and "script-src" not in policy


@fault(28)
def test_text_of_others_is_text_in_the_model_card(everything: tuple[Path, Ended]) -> None:
    folder, _ = everything
    card = (folder / "README.md").read_text()
    assert "&lt;script&gt;alert(1)" in card
    assert "<script" not in card and "<img" not in card and "[a](" not in card
    rows = [line for line in card.splitlines() if "(n = " in line]
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
