"""Draws the pictures of `README.md` and `docs/` again, by the commands that their pages show.

`python -m benchmarks.docs_figures` runs the commands in a temporary folder (`--work` keeps one) and
puts what they draw into `docs/`. `--only flow-deep --only transfer` draws these pictures alone, and
runs what they need. The shipped models and the rows in `benchmarks/results` are all that it reads.

The picture of the report needs Chromium.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"```(?:console|sh|bash)?\n(.*?)```", re.DOTALL)
SCREEN = "1100,836"
"""Width and height of the report's first screen, in pixels."""


@dataclass(frozen=True)
class Shown:
    """A picture that commands of a page make.

    Attributes:
        page: in the repository.
        outs: `--out` of every command that it needs, in the order of the page.
        made: what they draw, as a pattern of one file in the folder that they run in; a page of
            HTML is photographed.
    """

    page: str
    outs: tuple[str, ...]
    made: str


_FLOW, _LENS = "docs/reading-a-flow-map.md", "docs/looking-inside.md"
_EVIDENCE = "docs/explaining-an-answer.md"

SHOWN = {
    "flow-paper": Shown(_FLOW, ("clips", "runs/paper"), "runs/paper/flow.png"),
    "flow-deep": Shown(_FLOW, ("events", "runs/deep", "flow.png"), "flow.png"),
    "flow-options": Shown(_FLOW, ("clips", "runs/options"), "runs/options/flow.png"),
    "flow-heads": Shown(_FLOW, ("clips", "runs/heads"), "runs/heads/flow.png"),
    "flow-pairs": Shown(_FLOW, ("clips", "runs/pairs"), "runs/pairs/pairs.png"),
    "flow-words": Shown(_FLOW, ("clips", "runs/words"), "runs/words/flow.png"),
    "flow-two": Shown(_FLOW, ("clips", "runs/paper", "runs/test", "two.png"), "two.png"),
    "lens-answers": Shown(_LENS, ("clips", "lens"), "lens/answers.png"),
    "lens-overlay": Shown(_LENS, ("clips", "lens"), "lens/samples/*/overlay.png"),
    "evidence-right": Shown(_EVIDENCE, ("clips", "right"), "right/*.png"),
    "evidence-wrong": Shown(_EVIDENCE, ("clips", "wrong"), "wrong/*.png"),
    "report": Shown("README.md", ("runs/demo",), "runs/demo/tiny-pruned/report.html"),
}

MEASURED = {
    "evidence-treated": "hallucination.py",
    "transfer": "planner.py",
    "when-it-pays": "when_it_pays.py",
}
"""Pictures of rows in `results`, and the scripts that measured and `draw` them."""


def command(page: str, out: str) -> list[str]:
    """The words behind `prune` of the command with this `--out` on a page.

    Raises:
        ValueError: the page shows no such command, or several.
    """
    text = "\n".join(FENCE.findall((ROOT / page).read_text(encoding="utf-8"))).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        line = line.removeprefix("$ ")
        words = shlex.split(line, comments=True) if line.startswith("prune ") else []
        if ("--out", out) in pairwise(words):
            found.append(words[1:])
    if len(found) != 1:
        raise ValueError(f"{page}: {len(found)} commands with --out {out}")
    return found[0]


def draw(names: list[str], work: Path) -> None:
    """Draw pictures into `docs/`; a command that several of them need runs once."""
    done = set()
    for name in names:
        target = DOCS / f"{name}.png"
        if name in MEASURED:
            script = Path(__file__).with_name(MEASURED[name])
            subprocess.run([sys.executable, script, "draw"], check=True)
            continue
        shown = SHOWN[name]
        folder = work / Path(shown.page).stem
        folder.mkdir(parents=True, exist_ok=True)
        for out in shown.outs:
            if (folder, out) not in done:
                words = command(shown.page, out)
                print(f"prune {shlex.join(words)}", flush=True)
                subprocess.run([sys.executable, "-m", "prune", *words], cwd=folder, check=True)
                done.add((folder, out))
        (made,) = folder.glob(shown.made)
        if made.suffix == ".html":
            _photograph(made, target, work / "profile")
        else:
            shutil.copyfile(made, target)


def _photograph(page: Path, target: Path, profile: Path) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))))
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={profile}", f"--window-size={SCREEN}", f"--screenshot={target}",
            page.absolute().as_uri(),
        ],
        check=True, timeout=240,
    )  # fmt: skip


def main() -> None:
    """Draw all pictures, or some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [*SHOWN, *MEASURED]
    parser.add_argument("--only", action="append", choices=every, help="default: every one")
    parser.add_argument("--work", type=Path, help="an empty folder, to keep what commands write")
    args = parser.parse_args()
    with nullcontext(args.work) if args.work else tempfile.TemporaryDirectory() as work:
        draw(args.only or every, Path(work).absolute())


if __name__ == "__main__":
    main()
