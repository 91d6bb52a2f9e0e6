"""What is a gradient screen worth?

`python benchmarks/screen.py` screens every pathway of `prune trace` on clips of `tiny`, knocks out
every one exactly as well, and appends rows to `benchmarks/results/screen_<device>.csv`: Spearman's
rank correlation of the mean change of the answer's log-probability, and of its mean size, over all
pathways and layers (and KV heads), and how many of the 20 strongest the screen misses. `faded`
lists the shares of the edges that are gone where gradients are taken, a backward pass each.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rows import append
from scipy.stats import spearmanr
from torch import Tensor

from prune.bench.conditions import conditions
from prune.checkpoint.load import LoadedModel, open_model
from prune.inputs.samples import Sample, load_samples
from prune.layout.pathways import TRACED
from prune.runtime.attention import seam
from prune.tiny.benchmark import write_benchmark
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_logits
from prune.trace.sample import CHOICE
from prune.trace.screen import FADED, screen_prompt
from prune.trace.windows import default_window, window_layers

TOP = 20


class Sums:
    """Changes of log p over samples, predicted and exact, and the CPU seconds they took."""

    def __init__(self) -> None:
        self.changes: dict[str, list[np.ndarray]] = {}
        self.seconds: dict[str, float] = {}

    def add(self, name: str, change: Tensor, seconds: float) -> None:
        """Add one sample's changes and the time they took."""
        self.changes.setdefault(name, []).append(change.double().cpu().numpy())
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def compare(self, predicted: str, exact: str) -> dict[str, object]:
        """How well one ranks as the other does; seconds are means over samples."""
        found, true = (np.stack(self.changes[name]) for name in (predicted, exact))
        strength = [abs(part).mean(0).ravel() for part in (found, true)]
        strongest = [set(np.argsort(-s, kind="stable")[:TOP]) for s in strength]
        return {
            "candidates": strength[0].size,
            "spearman_change": f"{spearmanr(found.mean(0), true.mean(0), axis=None)[0]:.3f}",
            "spearman_strength": f"{spearmanr(*strength)[0]:.3f}",
            f"missed_of_{TOP}": len(strongest[1] - strongest[0]),
            "screen_s": f"{self.seconds[predicted] / len(found):.2f}",
            "exact_s": f"{self.seconds[exact] / len(found):.2f}",
        }


def measure(opened: LoadedModel, sample: Sample, sums: Sums, points: list[str], widths: list[int],
            heads: bool) -> bool:  # fmt: skip
    """Add one sample, if its answer is right."""
    (case,) = CHOICE.cases(opened.model, opened.processor, sample, 8)
    depth = opened.id.num_layers
    windows = {w: [window_layers(layer, w, depth) for layer in range(depth)] for w in widths}
    with seam(opened.model):
        start = time.process_time()
        dense = record_dense(case.replay)
        answer = int(dense.logits.argmax())
        if answer != case.options[sample.answer]:
            return False
        recorded = time.process_time() - start

        def exact(width: int, head: int | None = None) -> tuple[Tensor, float]:
            start = time.process_time()
            logits = knockout_logits(dense, TRACED, windows[width], head)
            change = logits.log_softmax(-1)[..., answer] - dense.logits.log_softmax(-1)[answer]
            return change, time.process_time() - start

        for width in widths:
            change, seconds = exact(width)
            sums.add(f"exact {width}", change, recorded + seconds)
        if heads:
            by_head = [exact(1, head) for head in range(opened.id.num_kv_heads)]
            changes, seconds_each = zip(*by_head, strict=True)
            sums.add("exact heads", torch.stack(changes, -1), recorded + sum(seconds_each))
        for faded in points:
            start = time.process_time()
            shares = [float(share) for share in faded.split(",")]
            screened = screen_prompt(case.replay, TRACED, answer, shares)
            seconds = time.process_time() - start
            for width in widths:
                sums.add(f"{faded} {width}", screened.log_probability(windows[width]), seconds)
            sums.add(f"{faded} heads", screened.by_head(), seconds)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--samples", type=int, default=24, help="right answers to measure")
    parser.add_argument("--split", default="test", help="whose clips are drawn")
    parser.add_argument("--seed", type=int, default=3, help="which clips are drawn")
    default = ",".join(map(str, FADED))
    parser.add_argument("--faded", nargs="+", default=["0", default], help="such as 0,0.25")
    parser.add_argument("--no-heads", action="store_true", help="leave single KV heads out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    opened = open_model(args.model, dense=True)
    widths = [1, default_window(opened.id.num_layers)]
    sums, right = Sums(), 0
    with TemporaryDirectory() as folder:
        data = write_benchmark(Path(folder), args.split, -(-args.samples // 6) + 2, args.seed)
        for sample in load_samples(data):
            if right < args.samples:
                right += measure(opened, sample, sums, args.faded, widths, not args.no_heads)
    kinds = [*map(str, widths), *([] if args.no_heads else ["heads"])]
    for faded in args.faded:
        for kind in kinds:
            found = {
                **conditions(opened.model, clock="cpu", traced=opened.id.name),
                "split": args.split,
                "seed": args.seed,
                "samples": right,
                "faded": faded,
                "cut": "one layer, one KV head" if kind == "heads" else f"window of {kind}",
                **sums.compare(f"{faded} {kind}", f"exact {kind}"),
            }
            print(*(f"{key}={value}" for key, value in found.items()), flush=True)
            append("screen", opened.model.device.type, [found])


if __name__ == "__main__":
    main()
