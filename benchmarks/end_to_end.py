"""What does a plan save in a whole model: prefill, time to first token, decode and memory?

`python benchmarks/end_to_end.py` builds a model with random weights and a real geometry on the
device at hand, runs it dense (SDPA), masked (edges skipped, every state computed, every key kept)
and pruned (dead states and unread keys skipped too), in turn, and appends rows to
`benchmarks/results/end_to_end_<device>.csv`. Beside each figure stands what counted FLOPs and bytes
predict; the pruned rows are written only if their answer logits are those of the masked variant.

The plan is the sealed map of LLaVA-NeXT-7B-Video (arXiv 2510.13251, table 3), or of VideoLLaMA3-7B,
scaled to the model's layers.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from memory import Memory, memory_of
from random_models import SHAPES, build, prompt
from rows import append
from torch import Tensor

import prune
from prune.bench.conditions import conditions
from prune.layout.freezing import freezable, freeze
from prune.layout.role import Role
from prune.plan.cost import Cost, Geometry, cost_of, dense_cost
from prune.plan.model_id import geometry
from prune.plan.plan import Plan

DECODE_STEPS = 4
WARMUP_FRAMES = 2
"""A short clip meets every kernel; a whole first run would take minutes on a CPU."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""Largest difference of an answer logit between two ways to compute one model; logits are O(1)."""


def scaled_plan(model: Any, preset: str) -> Plan:
    """The sealed preset with as many layers as the model, by nearest relative depth."""
    full = Plan.preset(preset)
    layers = model.config.text_config.num_hidden_layers
    chosen = ((np.arange(layers) + 1) * full.num_layers // layers) - 1
    return Plan(full.reach[chosen].copy(), geometry(model), f"{full.name}, {layers} layers")


def with_frozen_video(plan: Plan) -> Plan:
    """The plan, and no update of the video behind the last layer whose frames read each other."""
    across = plan.reach[:, :, Role.VIDEO, Role.VIDEO]
    first = int(np.flatnonzero((across > 0).any(1))[-1]) + 1
    reach = freezable(plan.reach)
    freeze(reach, slice(first, None), [Role.VIDEO])
    return Plan(reach, plan.model, f"{plan.name}, video frozen from layer {first + 1}")


@dataclass
class Run:
    """One prefill and what it left.

    Attributes:
        llm, first: milliseconds of the decoder, and of vision tower and decoder.
        step: milliseconds of each decode step.
        logits: of the first token, float32 `[V]`.
        kv_bytes: memory of the KV cache after the prefill, for one sequence.
    """

    llm: float
    first: float
    step: list[float]
    logits: Tensor
    kv_bytes: int


@torch.no_grad()
def measure(model: Any, inputs: dict[str, Tensor], batch: int, now: Callable[[], float]) -> Run:
    """Prefill one sequence, repeat its cache, decode a batch."""
    start = now()
    out = model(**inputs, use_cache=True, logits_to_keep=1)
    first = now() - start
    cache = out.past_key_values
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()
                for layer in cache.layers for x in (layer.keys, layer.values)}  # fmt: skip
    llm = model.llm_ms  # set by the hooks of `main`
    logits = out.logits[0, -1].float()
    token = logits.argmax().repeat(batch, 1)
    del out
    cache.batch_repeat_interleave(batch)
    steps = []
    for _ in range(DECODE_STEPS + 1):
        start = now()
        model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)
        steps.append(now() - start)
    return Run(llm, first, steps[1:], logits, sum(storages.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--frames", type=int, nargs="+", default=[64])
    parser.add_argument("--tokens", type=int, default=36, help="video tokens a frame")
    parser.add_argument("--batch", type=int, default=8, help="sequences decoded together")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frozen", action="store_true", help="freeze the video when it is read")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: time of this process, for one thread on a machine that others use too",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype, shape = getattr(torch, args.dtype), SHAPES[args.shape]
    model, processor = build(shape, args.tokens, args.device, dtype)
    plan = scaled_plan(model, shape.preset)
    if args.frozen:
        plan = with_frozen_video(plan)

    def now() -> float:
        if args.device == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.process_time() if args.clock == "cpu" else time.perf_counter())

    marks: list[float] = []
    text_model = model.model.language_model
    text_model.register_forward_pre_hook(lambda *_: marks.append(now()))

    def stop(*_: Any) -> None:
        model.llm_ms = now() - marks.pop()

    text_model.register_forward_hook(stop)

    for frames in args.frames:
        inputs = {k: v.to(args.device) for k, v in prompt(processor, frames, dtype).items()}
        segments = prune.segment(processor, inputs)
        sizes = Geometry.of(model)
        dense, pruned = (
            dense_cost(plan.num_layers, segments, sizes),
            cost_of(plan.reach, segments, sizes),
        )
        ways: dict[str, tuple[Callable[[], AbstractContextManager[Any]], float, int]] = {
            "dense": (nullcontext, dense.flops, dense.kv_bytes),
            "masked": (_way(model, plan, processor, "none"), pruned.mask_flops, dense.kv_bytes),
            "pruned": (_way(model, plan, processor, "all"), pruned.flops, pruned.kv_bytes),
        }
        short = {k: v.to(args.device) for k, v in prompt(processor, WARMUP_FRAMES, dtype).items()}
        for way, _, _ in ways.values():
            with way():
                measure(model, short, args.batch, now)
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for turn in range(args.runs):
            for name, (way, _, _) in ways.items():
                with way():
                    run = measure(model, inputs, args.batch, now)
                print(f"{turn + 1}/{args.runs} {name}: {run.llm:.0f} ms, {run.step}", flush=True)
                runs[name].append(run)
        memory = {name: _prefill_memory(model, inputs, way) for name, (way, _, _) in ways.items()}
        reference = runs["masked"][0].logits
        rows = []
        for name, (_, flops, kv_bytes) in ways.items():
            error = float((runs[name][0].logits - reference).abs().max())
            if name != "dense" and not error <= TOLERANCE[dtype]:
                raise SystemExit(f"{name}: a logit is off by {error}: no row is written")
            common = {
                **conditions(model, clock=args.clock),
                "sdpa": "flash (cpu)" if args.device == "cpu" else "torch default",
                "shape": args.shape,
                "plan": plan.name,
                "frames": frames,
                "tokens": segments.shape[1],
                "batch": args.batch,
                "variant": name,
                "parity": "" if name == "dense" else f"{error:.1e}",
            }
            rows += _rows(common, runs["dense"], runs[name], dense, flops, kv_bytes)
            rows += _memory_rows(common, memory["dense"], memory[name])
        multi = cost_of(plan.reach, segments, sizes, "multi_turn")
        with prune.apply(model, plan, processor=processor, mode="multi_turn"):
            kept = measure(model, inputs, 1, now)
        error = float((kept.logits - reference).abs().max())
        turns = {**common, "variant": "pruned, multi turn", "parity": f"{error:.1e}"}
        kept_rows = _rows(turns, runs["dense"][:1], [kept], dense, multi.flops, multi.kv_bytes)
        label = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
        append("end_to_end", label, [*rows, kept_rows[-1]])


def _way(model: Any, plan: Plan, processor: Any, skip: Any) -> Any:
    return lambda: prune.apply(model, plan, processor=processor, skip=skip)


@torch.no_grad()
def _prefill_memory(
    model: Any, inputs: dict[str, Tensor], way: Callable[[], AbstractContextManager[Any]]
) -> Memory:
    """Of one prefill beside the weights; what it leaves is the KV cache."""
    with way():
        return memory_of(
            lambda: model(**inputs, use_cache=True, logits_to_keep=1).past_key_values,
            model.device.type == "cuda",
        )


def _rows(
    common: dict[str, Any], dense: list[Run], runs: list[Run], cost: Cost, flops: float,
    kv_bytes: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row a timed quantity; `ratio` is the median over rounds of dense over this variant."""
    series = {
        "LLM prefill (ms)": (lambda run: run.llm, cost.flops / flops),
        "time to first token (ms)": (lambda run: run.first, None),
        "decode step (ms)": (lambda run: float(np.median(run.step)), None),
        "KV cache (bytes a sequence)": (lambda run: run.kv_bytes, cost.kv_bytes / kv_bytes),
    }
    return [
        _row(common, quantity, [value(run) for run in dense], [value(run) for run in runs], ratio)
        for quantity, (value, ratio) in series.items()
    ]


def _memory_rows(common: dict[str, Any], dense: Memory, this: Memory) -> list[dict[str, Any]]:
    return [
        _row(common, "prefill peak (MiB)", [dense.peak], [this.peak], None),
        _row(common, "held after prefill (MiB)", [dense.held], [this.held], None),
    ]


def _row(
    common: dict[str, Any], quantity: str, dense: list[float], values: list[float],
    predicted: float | None,
) -> dict[str, Any]:  # fmt: skip
    low, middle, high = np.percentile(values, [20, 50, 80])
    ratio = float(np.median([a / b for a, b in zip(dense, values, strict=True)]))
    print(f"{common['variant']:20} {quantity:28} {middle:14.1f}  x{ratio:.2f}  {predicted or ''}")
    return {
        **common,
        "quantity": quantity,
        "median": round(float(middle), 2),
        "p20": round(float(low), 2),
        "p80": round(float(high), 2),
        "runs": len(values),
        "ratio": round(ratio, 3),
        "predicted": "" if predicted is None else round(predicted, 3),
    }


if __name__ == "__main__":
    main()
