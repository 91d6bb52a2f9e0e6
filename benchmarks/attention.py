"""How fast is attention over segments, next to every kernel a user would pick instead?

`python benchmarks/attention.py` measures the layers of a pruned map on the device at hand and
appends rows to `benchmarks/results/attention_<device>.csv`. A row is written only if the
implementation's output passed the two gates of the tests on the very inputs that were timed.

Variants of one layer are timed in turn, so that a drift of the machine meets all of them; `ratio`
is the median over rounds of `dense / variant`, with its p20 and p80.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from attention_layers import LAYERS, TEXT, TEXT_ROWS, density, prompt
from attention_parity import parity
from attention_peers import Run, dense, dense_backends, masked
from memory import memory_of
from rows import append
from torch import Tensor

from prune.kernels import prepare, segment_attention
from prune.layout.segments import Role

CPU_SHAPES = [(8, 36), (32, 36), (64, 36), (64, 144)]
CUDA_SHAPES = [(frames, 144) for frames in (8, 32, 64, 128, 256)]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
LARGEST_MASK = 2**30
"""Bytes: a dense mask beyond this is not built."""


@dataclass(frozen=True)
class Setting:
    """What one group of rows has in common."""

    layer: str
    frames: int
    tokens: int
    heads: tuple[int, int]
    head_dim: int
    dtype: torch.dtype

    def inputs(self, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Random q, k and v."""
        generator = torch.Generator(device).manual_seed(0)
        queries = TEXT_ROWS if self.layer == "text rows" else length
        shapes = [(self.heads[0], queries), *[(self.heads[1], length)] * 2]
        return tuple(  # type: ignore[return-value]
            torch.randn(1, h, s, self.head_dim, generator=generator, device=device).to(self.dtype)
            for h, s in shapes
        )


def variants(
    setting: Setting, device: torch.device, with_flex: bool
) -> tuple[dict[str, Run], dict[str, str]]:
    """The runs of a setting that are correct, and why the others are missing."""
    segments = prompt(setting.frames, setting.tokens)
    layout = prepare(segments.role, segments.frame)
    tables = [torch.from_numpy(table) for table in LAYERS[setting.layer]]
    q, k, v = setting.inputs(layout.shape[1], device)

    def every_layer(one: Run) -> Run:
        return lambda: [one() for _ in tables][-1]

    def ours(impl: str) -> Run:
        return lambda: [
            segment_attention(q, k, v, layout, None, table, impl=impl)  # type: ignore[call-overload]
            for table in tables
        ][-1]

    runs: dict[str, Run] = {
        f"dense {backend.name.lower().removesuffix('_attention')}": every_layer(
            dense(q, k, v, backend)
        )
        for backend in dense_backends(q)
    }
    for impl in ["auto", "sdpa"] + (["triton"] if q.is_cuda else []):
        runs[impl] = ours(impl)
    if len(tables) == 1:
        if q.shape[2] * k.shape[2] <= LARGEST_MASK:
            runs["sdpa + dense mask"] = masked(q, k, v, segments, tables[0])
        if with_flex:
            runs["flex compiled"] = ours("flex")
    wrong = {}
    for name, run in runs.items():
        try:
            out = run()
            verdict = "ok" if _is_dense(name) else parity(out, q, k, v, segments, tables[-1])
        except Exception as error:
            verdict = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if verdict != "ok":
            wrong[name] = verdict
    return {name: run for name, run in runs.items() if name not in wrong}, wrong


def _is_dense(name: str) -> bool:
    return name.startswith("dense")


def timed(runs: dict[str, Run], rounds: int, clock: str) -> dict[str, list[float]]:
    """Milliseconds of each variant by a clock of `CLOCKS`, after two warm-up rounds.

    The order rotates, since the first after a long variant finds the caches full of its data.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds + 2):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            run = runs[name]
            if clock == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                torch.cuda.synchronize()
                elapsed = begin.elapsed_time(end)
            else:
                start = CLOCKS[clock]()
                run()
                elapsed = (CLOCKS[clock]() - start) * 1e3
            if i >= 2:
                times[name].append(elapsed)
    return times


def machine(device: torch.device) -> dict[str, str | int]:
    """What the numbers depend on."""
    try:
        import triton

        triton_version = triton.__version__
    except ImportError:
        triton_version = "none"
    git = (
        os.environ.get("PRUNE_COMMIT")
        or subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else _cpu_name()
    return {
        "git": git or "none",
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "triton": triton_version,
        "python": platform.python_version(),
    }


def label(environment: dict[str, str | int], device: torch.device) -> str:
    """The device in the names of result files."""
    return str(environment["device"]) if device.type == "cuda" else "cpu"


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "cpu"


def measure(
    setting: Setting, device: torch.device, rounds: int, with_flex: bool, clock: str
) -> Iterator[dict[str, object]]:
    """The rows of one setting."""
    cuda = device.type == "cuda"
    runs, wrong = variants(setting, device, with_flex)
    for name, reason in wrong.items():
        print(f"  no row for {name}: {reason}", file=sys.stderr)
    times = timed(runs, rounds, clock)
    segments = prompt(setting.frames, setting.tokens)
    text_alone = setting.layer == "text rows"
    kept = density(segments, LAYERS[setting.layer], TEXT if text_alone else tuple(Role))
    base = min(
        (name for name in times if _is_dense(name)),
        key=lambda name: statistics.median(times[name]),
    )
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times[base], values, strict=True)]
        yield {
            "layer": setting.layer,
            "frames": setting.frames,
            "tokens": setting.tokens,
            "queries": TEXT_ROWS if text_alone else segments.shape[1],
            "keys": segments.shape[1],
            "heads": f"{setting.heads[0]}/{setting.heads[1]}",
            "head_dim": setting.head_dim,
            "dtype": str(setting.dtype).removeprefix("torch."),
            "variant": name,
            "parity": "dense" if _is_dense(name) else "ok",
            "density": f"{kept:.4f}",
            "clock": clock,
            "rounds": rounds,
            **{f"{key}_ms": f"{x:.4f}" for key, x in _spread(values).items()},
            "baseline": base,
            **{f"ratio_{key}": f"{x:.3f}" for key, x in _spread(ratios).items()},
            "peak_mib": f"{memory_of(runs[name], cuda).peak:.1f}",
        }


def _spread(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    return {"median": statistics.median(values), "p20": tenths[1], "p80": tenths[7]}


def settings(arguments: argparse.Namespace, cuda: bool) -> Iterator[Setting]:
    """The matrix of the device."""
    shapes = [tuple(map(int, s.split("x"))) for s in arguments.shapes] or (
        CUDA_SHAPES if cuda else CPU_SHAPES
    )
    for dtype in arguments.dtypes or (["bfloat16"] if cuda else ["float32"]):
        for frames, tokens in shapes:
            for heads in arguments.heads or (["32/32", "28/4"] if cuda else ["8/8"]):
                query_heads, kv_heads = map(int, heads.split("/"))
                for layer in arguments.layers or LAYERS:
                    yield Setting(
                        layer,
                        frames,
                        tokens,
                        (query_heads, kv_heads),
                        128 if cuda else 64,
                        getattr(torch, dtype),
                    )


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", nargs="*", default=[], help="frames x tokens, such as 64x144")
    parser.add_argument("--heads", nargs="*", default=[], help="query and KV heads, such as 28/4")
    parser.add_argument("--layers", nargs="*", choices=LAYERS)
    parser.add_argument("--dtypes", nargs="*", help="such as float32 bfloat16")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flex", action="store_true", help="compiled FlexAttention too")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: time of this process, for one thread on a machine that others use too",
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    cuda = device.type == "cuda"
    environment = machine(device)
    print(*(f"{key}={value}" for key, value in environment.items()))
    for setting in settings(arguments, cuda):
        for row in measure(
            setting,
            device,
            arguments.rounds,
            arguments.flex,
            "cuda" if cuda else arguments.clock,
        ):
            row = {**environment, **row}
            print(
                f"{row['layer']:>13} {row['frames']:>4}x{row['tokens']:<4} {row['queries']:>6} rows"
                f" {row['variant']:>18} {row['median_ms']:>10} ms  {row['ratio_median']:>7}x"
                f" [{row['ratio_p20']}, {row['ratio_p80']}]  {row['peak_mib']} MiB",
                flush=True,
            )
            append("attention", label(environment, device), [row])


if __name__ == "__main__":
    main()
