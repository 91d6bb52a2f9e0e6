"""Does one plan hold at several numbers of frames?

`python benchmarks/frame_counts.py MODEL FOLDER` draws clips into FOLDER, finds one plan at 8 frames
and one at each of `--frames`, by `prune trace` and `prune export`, and asks both, by `prune eval`,
about held-out questions at each number. What is in FOLDER already is not made again. Appends to
`benchmarks/results/frame_counts_cpu.csv`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows import append, show

from prune.journal.records import versions

PRUNE = Path(sys.executable).with_name("prune")
CONDITIONS = {"device": f"{platform.machine()} CPU, {os.cpu_count()} cores", **versions()}


def run(*arguments: object) -> str:
    """What a command of prune prints; the run ends where the command does."""
    done = subprocess.run([PRUNE, *map(str, arguments)], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def find_plan(model: str, clips: Path, frames: str, traced: int, max_drop: float) -> Path:
    """The export of a plan that was found at some numbers of frames."""
    trace, export = (clips.parent / f"{what}-{frames.replace(',', '-')}" for what in ("run", "to"))
    run("trace", model, "--data", clips / "calibration.jsonl", "--frames", frames,
        "--limit", traced, "--out", trace)  # fmt: skip
    if not export.exists():
        run("export", model, "--trace", trace, "--test", clips / "test.jsonl",
            "--max-drop", max_drop, "--out", export)  # fmt: skip
    return export


def main() -> None:
    """Find both plans, ask about both, append the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", default="4,8,12")
    parser.add_argument("--tasks", default="shapes")
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--per-task", type=int, default=100, help="clips drawn, in each split")
    parser.add_argument("--traced", type=int, default=120, help="calibration clips that are traced")
    args = parser.parse_args()
    clips = args.folder / "clips"
    if not clips.exists():
        run("clips", "--out", clips, "--per-task", args.per_task, "--tasks", args.tasks)
    for found in ("8", args.frames):
        export = find_plan(args.model, clips, found, args.traced, args.max_drop)
        asked = json.loads(
            run("eval", export, "--data", clips / "test.jsonl", "--against", args.model,
                "--frames", args.frames, "--json")
        )  # fmt: skip
        rows = [
            {**CONDITIONS, "model": args.model, "max_drop": args.max_drop,
             "found_at": found, **answered(count, export)}
            for count in asked["frame_counts"]
        ]  # fmt: skip
        append("frame_counts", "cpu", rows)
        for row in rows:
            show(row)


def answered(count: dict[str, Any], export: Path) -> dict[str, object]:
    """What a plan saves on the prompt of median length, and loses at a number of frames."""
    *_, overall = count["accuracy"]
    dense, *_, pruned = json.loads((export / "prune_report.json").read_text())["cost"]
    change = overall["difference"]
    return {
        "asked_at": count["frames"],
        "flops_left": f"{pruned['flops'] / dense['flops']:.3f}",
        "questions": overall["n"],
        "dense": f"{overall['dense']['value']:.1f}",
        "change": f"{change['value']:+.1f} [{change['low']:.1f}, {change['high']:.1f}]",
    }


if __name__ == "__main__":
    main()
