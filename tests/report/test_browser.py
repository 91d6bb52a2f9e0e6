"""The pages in a real browser: nothing is fetched, nothing overflows, every picture is there."""

import html as escape
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.plan.plan import Plan
from prune.report.audit_page import audit_html
from prune.report.figures.audit import Pairing, audit_figure
from prune.report.page import html
from prune.results.export_result import Result
from tests.report.conftest import HOSTILE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WIDTHS = (1100, 400)

# Frames of the same origin, so that a script may look at pages that allow none themselves.
FRAMES = """<!doctype html><title>frames</title>{frames}<pre id="found"></pre><script>
addEventListener("load", () => {{
  document.getElementById("found").textContent = JSON.stringify(
    [...document.querySelectorAll("iframe")].map((f) => f.contentWindow).map((w) => ({{
    page: w.location.pathname,
    width: w.innerWidth,
    scroll: w.document.documentElement.scrollWidth,
    empty: [...w.document.images].filter((i) => !i.naturalWidth || !i.height).map((i) => i.alt),
    images: w.document.images.length,
    fetched: w.performance.getEntriesByType("resource").map((e) => e.name)
      .filter((name) => !name.startsWith("data:")),
    title: w.document.title,
  }})));
}});
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    served.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()


def chromium(folder: Path, *words: str) -> tuple[str, str]:
    """Output and log of one headless run."""
    run = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--disable-background-networking", "--disable-sync", "--virtual-time-budget=10000",
            f"--user-data-dir={folder / 'profile'}", *words,
        ],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return run.stdout, run.stderr


def look(
    server: ThreadingHTTPServer, folder: Path, pages: dict[str, str]
) -> tuple[list[dict[str, Any]], str]:
    """What every page looks like at every width, and what the browser's console said."""
    frames = []
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
        frames += [f'<iframe src="{name}" width="{w}" height="900"></iframe>' for w in WIDTHS]
    (folder / "frames.html").write_text(FRAMES.format(frames="".join(frames)))
    address = f"http://127.0.0.1:{server.server_address[1]}/frames.html"
    dom, log = chromium(folder, "--dump-dom", "--window-size=1400,1000", address)
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, log
    said = "\n".join(line for line in log.splitlines() if "CONSOLE" in line)
    return json.loads(escape.unescape(found[1])), said


@pytest.fixture
def audited() -> str:
    frames = np.full((8, 32, 32, 3), 90, np.uint8)
    labels = np.arange(8, dtype=np.int32)[:, None, None].repeat(32, 1).repeat(32, 2)
    figure = audit_figure([Pairing(HOSTILE, frames, labels, [0, 1], [5])])
    change = {"value": -1.0, "low": -3.0, "high": 1.0}
    audit = {
        "model": {"name": "/a/folder/" + 60 * "m"}, "plan": "0" * 64, "outcome": "open",
        "command": "prune audit a b",
        "findings": [
            {"name": "IoU@20%", "value": 0.2, "low": 0.1, "high": 0.3, "videos": 24, "limit": 0.4,
             "outcome": "broken", "needed": None},
            {"name": "other evidence", "value": 0.2, "low": None, "high": None, "videos": 9,
             "limit": 0.5, "outcome": "open", "needed": 10},
        ],
        "settings": {"regions": "frames"}, "samples": [{}], "failed": {HOSTILE: "gone"},
        "means": {"iou_20": {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 24, "videos": 24}},
        "accuracy": {"n": {"value": 60}, "videos": {"value": 60}, "change": change},
        "existence": {"absent": 9, "videos": 9, "questions": 20, "change": change,
                      "yes_bias_before": 1.0, "yes_bias_after": -2.0},
    }  # fmt: skip
    return audit_html(audit, {"iou_20": "IoU of the fifth that matters most"}, figure)


def test_pages_fit_and_fetch_nothing(
    server: ThreadingHTTPServer, tmp_path: Path, result: Result, plan: Plan, audited: str
) -> None:
    bare = replace(result, flow=None, search=None, accuracy=None, asked=(), baselines=(),
                   shapes=(), latency=(), launched=None, benched=(), audit=None)  # fmt: skip
    pages = {"full.html": html(result, plan), "bare.html": html(bare, plan), "audit.html": audited}
    found, said = look(server, tmp_path, pages)
    assert len(found) == len(pages) * len(WIDTHS)
    for page in found:
        assert page["scroll"] <= page["width"], page
        assert not page["empty"] and not page["fetched"], page
        assert page["images"] >= {"/full.html": 6, "/bare.html": 2, "/audit.html": 1}[page["page"]]
        assert page["title"].startswith("prune ")
    assert not said
    asked = {path for path in server.asked if path != "/favicon.ico"}  # type: ignore[attr-defined]
    assert asked == {"/frames.html", *(f"/{name}" for name in pages)}


def test_a_bad_page_is_told_apart(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    bad = (
        '<!doctype html><title>x</title><div style="width: 1200px">wide</div>'
        '<img alt="gone" src="gone.png"><script>console.error("oh")</script>'
    )
    found, said = look(server, tmp_path, {"bad.html": bad})
    assert all(page["scroll"] > page["width"] for page in found)
    assert found[0]["empty"] == ["gone"] and found[0]["fetched"]
    assert "oh" in said and "/gone.png" in server.asked  # type: ignore[attr-defined]


def test_it_prints_on_a_few_sheets(tmp_path: Path, result: Result, plan: Plan) -> None:
    (tmp_path / "report.html").write_text(html(result, plan), encoding="utf-8")
    pdf = tmp_path / "report.pdf"
    chromium(tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer",
             (tmp_path / "report.html").as_uri())  # fmt: skip
    sheets = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
    assert 3 <= sheets <= 12
