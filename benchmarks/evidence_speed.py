"""What does a search of evidence cost?

Orders the regions of one clip one candidate at a time, in batches, and by the other searches, on
`tiny` or on a mid-size model with random weights, and appends to
`benchmarks/results/evidence_speed_<device>.csv`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from random_models import Shape, build
from rows import append, show

from prune.bench.conditions import conditions
from prune.checkpoint.load import open_model
from prune.evidence.case import Case, open_case
from prune.evidence.curves import curves
from prune.evidence.metrics.auc import deletion_auc, insertion_auc
from prune.evidence.objective import Objective
from prune.evidence.plain import PlainScorer
from prune.evidence.regions import partition
from prune.evidence.regions.align import align
from prune.evidence.search import SEARCHES
from prune.evidence.search.greedy import greedy, greedy_one_at_a_time
from prune.inputs.reply import greedy_reply
from prune.inputs.samples import Sample, load_samples
from prune.tiny.benchmark import write_benchmark

MID = Shape(16, 512, 1408, 8, 8, (256, 4, 14), "llava-next-7b")

SURE = 20.0
"""Factor of the random model's head, so that its answers depend on what it sees."""


def mid_case(sample: Sample, frames: int, device: str) -> Case:
    """A question to the mid-size model, with the token that it would answer."""
    model, processor = build(MID, 36, device, torch.float32)
    head = model.get_output_embeddings().weight.data
    head *= SURE
    head[len(processor.tokenizer) :] = 0
    case = open_case(model, processor, sample, frames, reply=[5])
    reply = greedy_reply(model, case.inputs, max_new_tokens=1)
    return open_case(model, processor, sample, frames, reply=reply)


def speed(args: argparse.Namespace) -> None:
    """One candidate at a time against batches and the faster searches."""
    with tempfile.TemporaryDirectory() as folder:
        sample = load_samples(write_benchmark(Path(folder), "test", 1))[2]
        opened = open_model("tiny")
        tiny = open_case(opened.model, opened.processor, sample)
        mid = mid_case(sample, args.frames, args.device)
    for model, case, regions in (
        ("tiny", tiny, align(partition("grid", tiny.frames, args.count), tiny.grid)),
        (
            f"mid: 16 layers, d 512, {args.frames} frames x 36 tokens",
            mid,
            align(partition(args.regions, mid.frames, args.count), mid.grid),
        ),
    ):
        if not model.startswith(args.model):
            continue
        plain = PlainScorer(
            case.model, case.processor, case.sample, case.clip, case.target.ids, regions
        )
        slowest = {} if args.no_plain else {"one at a time": (plain, greedy_one_at_a_time)}
        runs: dict[str, tuple[Any, Callable[[Objective], list[int]]]] = {
            **slowest,
            "full, batched": (case.scorer(regions), greedy),
            **{n: (case.scorer(regions), s) for n, s in SEARCHES.items() if n != "full"},
        }
        slow, first = 0.0, []
        for name, (scorer, search) in runs.items():
            objective = Objective(scorer, case.target.positions)
            before, start = scorer.forwards, time.process_time()
            order = search(objective)
            seconds, forwards = time.process_time() - start, scorer.forwards - before
            curve = curves(Objective(case.scorer(regions), [0]), order, regions.area)
            slow, first = slow or seconds, first or order
            row = {
                **conditions(case.model, clock="cpu"),
                "model": model,
                "regions": regions.count,
                "search": name,
                "seconds": f"{seconds:.2f}",
                "ratio": f"{slow / seconds:.1f}",
                "forwards": forwards,
                "same_order": order == first,
                "insertion": f"{insertion_auc(curve, [0]):.4f}",
                "deletion": f"{deletion_auc(curve, [0]):.4f}",
            }
            append("evidence_speed", args.device, [row])
            show(row)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["tiny", "mid"], default="tiny")
    parser.add_argument("--count", type=int, default=4, help="regions of a frame")
    parser.add_argument("--frames", type=int, default=8, help="of the mid-size model's clip")
    parser.add_argument("--regions", default="frames", help="of the mid-size model's clip")
    parser.add_argument("--no-plain", action="store_true", help="not one at a time")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    speed(args)


if __name__ == "__main__":
    main()
