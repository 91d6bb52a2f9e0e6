"""Does EAGLE find the evidence better than other methods, and what does that cost?

`python benchmarks/evidence.py methods` explains clips of `tiny` with every method, on the same
regions, and appends a row for each to `benchmarks/results/evidence_<device>.csv`: insertion and
deletion AUC with 95% bootstrap intervals, the paired difference to EAGLE's, Point Game against the
exact mask of the thing that acts, how often the top frame lies in the half of the clip that is
asked about (of two actions, the first or the last), time, peak memory and forward passes.

`python benchmarks/evidence.py searches` orders the regions of several clips by every search, and
appends to `benchmarks/results/evidence_searches_<device>.csv` their share of the R (R + 1) passes
of full greedy one candidate at a time and, paired over clips, how far their curves are from its.

`python benchmarks/evidence.py gap` compares full greedy with the best of all orderings of 8 frames
(mean F over the first 1 to 8 of them), and appends to
`benchmarks/results/evidence_gap_<device>.csv`.
"""

import argparse
import ctypes
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import append, ends, show

from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.evidence.baselines import BASELINES, order_by_map
from prune.evidence.case import Case, open_case
from prune.evidence.curves import Curves, attribution, curves
from prune.evidence.metrics.auc import deletion_auc, insertion_auc
from prune.evidence.metrics.pointing import points_at_box, points_at_mask, top_frame_in_span
from prune.evidence.objective import Objective
from prune.evidence.regions import Regions, partition
from prune.evidence.regions.align import align
from prune.evidence.search import SEARCHES
from prune.evidence.search.exhaustive import chain_value, exhaustive
from prune.evidence.search.greedy import greedy
from prune.inputs.samples import load_samples
from prune.tiny.benchmark import scenes, write_benchmark
from prune.tiny.draw import CLIP_TIMES, coverage

HALF = {"first": (0, 4), "last": (4, 8)}
"""Frames of the action that a question of `action_sequence` asks about, by its last word."""


def peak_mib(run: Callable[[], Any]) -> tuple[Any, float]:
    """What `run` returns, and the most memory it held at once beyond what was held before, in MiB.

    On a GPU as torch counts it; on a CPU by the process's high-water mark, which Linux lets start
    over.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        found = run()
        return found, (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # What is free but kept would hide what is taken.
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts over.
    before = _resident("VmRSS")
    found = run()
    return found, (_resident("VmHWM") - before) / 1024


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def order_of(name: str, case: Case, objective: Objective, regions: Regions) -> list[int]:
    """The ordering that a method gives the regions."""
    if name in BASELINES:
        return order_by_map(BASELINES[name](case), regions)
    search = SEARCHES[name.removeprefix("eagle ")]
    return search(objective, lambda placed, best: None)


def methods(args: argparse.Namespace) -> None:
    """Every method on the same clips and regions."""
    opened = open_model("tiny")
    names = ("eagle doubling", "eagle efficient", *BASELINES)
    done = read_done(args.clips_file)
    with tempfile.TemporaryDirectory() as folder:
        path = write_benchmark(Path(folder), "test", args.per_task, seed=args.seed)
        samples = {s.id: s for s in load_samples(path)}
        drawn = scenes("test", args.per_task, args.seed)
        for index, (task, scene, _) in enumerate(drawn):
            clip = (f"test/{task}/{index % args.per_task:04d}", args.seed, args.count)
            if clip in done:
                continue
            case = open_case(opened.model, opened.processor, samples[clip[0]])
            regions = align(partition("grid", case.frames, args.count), case.grid)
            thing = coverage(scene.actor, CLIP_TIMES[1::2], case.frames.shape[1]) > 0.5
            span = HALF.get(case.sample.question.rstrip("?").split()[-1])
            done[clip] = {name: measure(name, case, regions, thing, span) for name in names}
            write_done(args.clips_file, clip, done[clip])
            print(*clip, *(f"{n}={r['insertion']:.3f}" for n, r in done[clip].items()), flush=True)
    found = {name: [row[name] for row in done.values()] for name in names}
    eagle = found[names[0]]
    rows = []
    for name in names:
        table = {key: np.array([row[key] for row in found[name]], float) for key in eagle[0]}
        row: dict[str, object] = {
            **conditions(opened.model),
            "model": "tiny",
            "clips": len(eagle),
            "regions": int(eagle[0]["regions"]),
            "method": name,
        }
        for key in ("insertion", "deletion"):
            ahead = np.array([r[key] for r in eagle]) - table[key]
            for label, values in ((key, table[key]), (f"eagle_minus_{key}", ahead)):
                row |= {label: f"{values.mean():.4f}", f"{label}_95": ends(values)}
        parts = ("mask", "box", "half", "seconds", "forwards")
        row |= {key: f"{np.nanmean(table[key]):.3f}" for key in parts}
        row["peak_mib"] = f"{table['mib'].max():.0f}"
        rows.append(row)
        show(row)
    append("evidence", args.device, rows)


def measure(
    name: str, case: Case, regions: Regions, thing: np.ndarray, span: tuple[int, int] | None
) -> dict[str, float | None]:
    """One method on one clip; curves are not counted in its time and passes."""
    scorer = case.scorer(regions)
    objective = Objective(scorer, case.target.positions)
    before, start = case.forcing.forwards, time.process_time()
    order, mib = peak_mib(lambda: order_of(name, case, objective, regions))
    seconds, forwards = time.process_time() - start, case.forcing.forwards - before
    curve: Curves = curves(objective, order, regions.area)
    chosen = case.target.positions
    scores = attribution(curve, order, chosen)
    if name in BASELINES:  # A baseline points with its own order.
        scores = np.empty(regions.count)
        scores[order] = np.linspace(1, 0, regions.count)
    saliency = regions.spread(scores)
    return {
        "insertion": insertion_auc(curve, chosen),
        "deletion": deletion_auc(curve, chosen),
        "mask": float(points_at_mask(saliency, thing)),
        "box": float(points_at_box(saliency, thing)),
        "half": float(top_frame_in_span(saliency, span)) if span else None,
        "seconds": seconds,
        "forwards": forwards,
        "mib": mib,
        "regions": regions.count,
    }


def searches(args: argparse.Namespace) -> None:
    """Every search on the same clips and regions, against full greedy."""
    opened = open_model("tiny")
    done = read_done(args.clips_file)
    with tempfile.TemporaryDirectory() as folder:
        for sample in load_samples(write_benchmark(Path(folder), "test", args.per_task, args.seed)):
            clip = (sample.id, args.seed, args.count)
            if clip in done:
                continue
            case = open_case(opened.model, opened.processor, sample)
            regions = align(partition("grid", case.frames, args.count), case.grid)
            found = {}
            for name in SEARCHES:
                objective = Objective(case.scorer(regions), case.target.positions)
                before, start = case.forwards, time.process_time()
                order = order_of(f"eagle {name}", case, objective, regions)
                seconds, forwards = time.process_time() - start, case.forwards - before
                curve = curves(objective, order, regions.area)
                found[name] = {
                    "insertion": insertion_auc(curve, case.target.positions),
                    "deletion": deletion_auc(curve, case.target.positions),
                    "forwards": forwards,
                    "one_at_a_time": regions.count * (regions.count + 1),
                    "seconds": seconds,
                    "regions": regions.count,
                }
            write_done(args.clips_file, clip, found)
            done[clip] = found
            print(*clip, *(f"{n}={r['insertion']:.3f}" for n, r in found.items()), flush=True)
    rows = []
    for name in SEARCHES:
        mine, full = ([clip[n] for clip in done.values()] for n in (name, "full"))
        row: dict[str, object] = {
            **conditions(opened.model, clock="cpu"),
            "model": "tiny",
            "clips": len(mine),
            "regions": int(mine[0]["regions"]),
            "search": name,
            "passes": f"{np.mean([m['forwards'] / m['one_at_a_time'] for m in mine]):.3f}",
            "seconds": f"{np.mean([m['seconds'] for m in mine]):.2f}",
        }
        for key in ("insertion", "deletion"):
            change = np.array([m[key] - f[key] for m, f in zip(mine, full, strict=True)])
            row |= {
                key: f"{np.mean([m[key] for m in mine]):.4f}",
                f"{key}_minus_full": f"{change.mean():.4f}",
                f"{key}_minus_full_95": ends(change),
            }
        rows.append(row)
        show(row)
    append("evidence_searches", args.device, rows)


def read_done(path: Path) -> dict[tuple[Any, ...], Any]:
    """What was measured of each clip so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {tuple(item["clip"]): item["found"] for item in map(json.loads, lines)}


def write_done(path: Path, clip: tuple[Any, ...], found: Any) -> None:
    """Note what was measured of a clip."""
    with path.open("a") as file:
        file.write(json.dumps({"clip": clip, "found": found}) + "\n")


def gap(args: argparse.Namespace) -> None:
    """Full greedy against the best ordering there is, over the frames of a few clips."""
    opened = open_model("tiny")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for sample in load_samples(write_benchmark(Path(folder), "test", args.per_task)):
            case = open_case(opened.model, opened.processor, sample)
            regions = partition("frames", case.frames, 1)
            objective = Objective(case.scorer(regions), case.target.positions)
            values = [chain_value(objective, s(objective)) for s in (exhaustive, greedy)]
            rows.append(values)
            print(sample.id, *(f"{v:.4f}" for v in values), flush=True)
    best, found = np.array(rows).T
    row = {
        **conditions(opened.model), "model": "tiny", "clips": len(rows),
        "regions": regions.count, "best_mean_f": f"{best.mean():.4f}",
        "greedy_mean_f": f"{found.mean():.4f}", "gap": f"{(best - found).mean():.4f}",
        "gap_95": ends(best - found), "largest_gap": f"{(best - found).max():.4f}",
    }  # fmt: skip
    append("evidence_gap", args.device, [row])
    show(row)


QUESTIONS = {"methods": methods, "searches": searches, "gap": gap}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=list(QUESTIONS))
    parser.add_argument("--per-task", type=int, default=3, help="clips of each task")
    parser.add_argument("--count", type=int, default=4, help="regions of a frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--clips-file",
        type=Path,
        default=Path("evidence-clips.jsonl"),
        help="methods, searches: what was measured of each clip so far; an unfinished run goes on",
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    QUESTIONS[args.what](args)


if __name__ == "__main__":
    main()
