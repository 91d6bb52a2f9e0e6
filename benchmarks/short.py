"""Is a pruned model ever slower than the dense one, at short prompts and small widths?

`python benchmarks/short.py` builds models with random weights from 128 to 1024 wide, asks them
about clips of 1 to 64 frames of 4 to 144 tokens, dense and pruned in turn in one process, and
appends rows per case to `benchmarks/results/short_<device>.csv`. `ratio` is the median over rounds
of dense over pruned. Every round asks a question of another length, as users do, so that nothing
but the plan itself is known in advance, and then the same one again, whose layout is known.

The plan is active on a copy that shares the model's weights, as on a model that is loaded once.

A prefill counts from the call of the model to its output, reading the prompt's layout included,
without the vision tower. The figure is process time on one thread, since other processes may share
the machine. A row is written only if the pruned logits are those of the masked model.
"""

import argparse
import time
from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from end_to_end import TOLERANCE, scaled_plan
from random_models import Shape, build, prompt
from rows import append
from torch import Tensor

import prune
from prune.bench.conditions import conditions
from prune.runtime.cache import cache_in
from prune.runtime.session import Skip

DECODE_STEPS = 8


@dataclass(frozen=True)
class Case:
    """A model and the clips it is asked about."""

    hidden: int
    layers: int
    frames: int
    tokens: int
    batch: int
    dtype: str

    @property
    def cost(self) -> int:
        """A prefill's products of a token and a weight, in some unit; the text counts as well."""
        return (self.frames * self.tokens + 135) * self.batch * self.layers * self.hidden**2


CLIPS = {
    128: ((1, 4), (4, 4), (8, 4), (8, 16), (8, 36), (64, 4), (8, 144), (64, 16), (64, 36)),
    512: ((1, 4), (8, 4), (8, 16), (8, 36), (8, 144), (64, 16)),
    1024: ((1, 4), (8, 16), (8, 36), (8, 144)),
}
LAYERS = {128: 12, 512: 12, 1024: 8}
CASES = sorted(
    (
        Case(hidden, LAYERS[hidden], frames, tokens, batch, dtype)
        for hidden, clips in CLIPS.items()
        for frames, tokens in clips
        for batch in (1, 8)
        for dtype in ("float32", "bfloat16")
    ),
    key=lambda case: case.cost,
)
"""Cheap ones first, so that a run that is cut short has said something of every width."""

SMALL = [case for case in CASES if case.hidden == 128 and case.batch == 1][:6]


class Timed:
    """Process time of one model's forward passes without the vision tower, in ms."""

    def __init__(self, model: Any) -> None:
        self.model, self._vision, self._start = model, 0.0, 0.0
        tower = model.model.vision_tower
        tower.register_forward_pre_hook(self._begin)
        tower.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._start = time.process_time()

    def _end(self, *_: Any) -> None:
        self._vision += time.process_time() - self._start

    @torch.no_grad()
    def __call__(self, inputs: dict[str, Tensor], cache: Any = None) -> tuple[float, Any]:
        """Milliseconds, and the output, of a prefill or a decode step."""
        self._vision = 0.0
        given = {} if cache is None else {"past_key_values": cache}
        start = time.process_time()
        out = self.model(**inputs, **given, use_cache=True, logits_to_keep=1)
        return 1000 * (time.process_time() - start - self._vision), out


def request(timed: Timed, inputs: dict[str, Tensor]) -> tuple[float, float, Tensor]:
    """Milliseconds of the prefill and of a decode step, and the first token's logits `[B, V]`."""
    prefill, out = timed(inputs)
    cache, logits = cache_in(out), out.logits[:, -1].float()
    token = {"input_ids": logits.argmax(-1, keepdim=True)}
    steps = [timed(token, cache)[0] for _ in range(DECODE_STEPS + 1)]
    return prefill, float(np.median(steps[1:])), logits


def batched(inputs: dict[str, Tensor], batch: int) -> dict[str, Tensor]:
    """The same request so many times."""
    return {name: x.repeat_interleave(batch, 0) for name, x in inputs.items()}


def copied(model: Any) -> Any:
    """A copy of a model with the same weights in memory."""
    return deepcopy(model, {id(x): x for x in (*model.parameters(), *model.buffers())})


NEW, AGAIN = "another each", "asked again"


def measure(case: Case, runs: int, skip: Skip) -> list[dict[str, Any]]:
    """The rows of a case."""
    dtype = getattr(torch, case.dtype)
    heads = max(4, case.hidden // 64)
    shape = Shape(
        case.layers, case.hidden, 11 * case.hidden // 4, heads, heads, (64, 1, 14), "llava-next-7b"
    )
    model, processor = build(shape, case.tokens, "cpu", dtype)
    plan, twin = scaled_plan(model, shape.preset), copied(model)
    ways = {"dense": Timed(model), "pruned": Timed(twin)}
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    worst, lengths = 0.0, []
    with prune.apply(twin, plan, processor=processor, skip=skip):
        for turn in range(-2, runs):
            more = " so" * (turn + 2)
            inputs = batched(prompt(processor, case.frames, dtype, more), case.batch)
            lengths.append(inputs["input_ids"].shape[1])
            for way in sorted(ways, reverse=turn % 2 == 1):
                prefill, step, logits = request(ways[way], inputs)
                if way == "pruned" and turn <= 0:
                    with prune.apply(model, plan, processor=processor, skip="none"):
                        expected = request(ways["dense"], inputs)[2]
                    worst = max(worst, float((logits - expected).abs().max()))
                if turn >= 0:
                    found[way, NEW, "prefill"].append(prefill)
                    found[way, NEW, "decode step"].append(step)
            for way in sorted(ways, reverse=turn % 2 == 1):
                again, _ = ways[way](inputs)
                if turn >= 0:
                    found[way, AGAIN, "prefill"].append(again)
    if not worst <= TOLERANCE[dtype]:
        raise SystemExit(f"{case}: a logit is off by {worst}: no row is written")
    common = {
        **conditions(model, clock="process time", question=""),
        "plan": plan.name,
        "skip": skip,
        **{name: getattr(case, name) for name in ("hidden", "layers", "frames", "tokens", "batch")},
        "length": round(np.median(lengths)),
        "parity": f"{worst:.1e}",
    }
    rows = []
    for question, phase in ((NEW, "prefill"), (NEW, "decode step"), (AGAIN, "prefill")):
        dense, pruned = (found[way, question, phase] for way in ways)
        rows.append(_row({**common, "question": question, "phase": phase}, dense, pruned))
    return rows


def _row(common: dict[str, Any], dense: list[float], pruned: list[float]) -> dict[str, Any]:
    ratios = np.array(dense) / np.array(pruned)
    low, ratio, high = np.percentile(ratios, [20, 50, 80])
    print(
        f"{common['hidden']:5} {common['frames']:3}x{common['tokens']:<4} b{common['batch']} "
        f"{common['dtype']:9} {common['phase']:12} {common['question']:12} "
        f"{np.median(dense):9.2f} {np.median(pruned):9.2f} ms x{ratio:.3f} ({low:.2f}-{high:.2f})",
        flush=True,
    )
    return {
        **common,
        "dense (ms)": round(float(np.median(dense)), 3),
        "pruned (ms)": round(float(np.median(pruned)), 3),
        "ratio": round(float(ratio), 3),
        "p20": round(float(low), 3),
        "p80": round(float(high), 3),
        "runs": len(dense),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few cases, to see that it runs")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--most", type=float, default=8e9, help="leave out cases of a higher cost")
    parser.add_argument("--skip", choices=get_args(Skip), default="auto")
    parser.add_argument("--hidden", type=int, nargs="+", help="only these widths")
    parser.add_argument("--dry", action="store_true", help="write no rows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for case in SMALL if args.small else CASES:
        if (args.hidden and case.hidden not in args.hidden) or case.cost > args.most:
            continue
        rows = measure(case, args.runs, args.skip)
        if not args.dry:
            append("short", "cpu", rows)


if __name__ == "__main__":
    main()
