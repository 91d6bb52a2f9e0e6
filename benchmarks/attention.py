"""How fast is attention over segments, next to every kernel a user would pick instead?

`python benchmarks/attention.py` measures the layers of a pruned map on the device at hand and
appends rows to `benchmarks/results/attention_<device>.csv`. A row is written only if the
implementation's output passed the two gates of the tests on the very inputs that were timed.

Variants of one layer are timed in turn, so that a drift of the machine meets all of them; `ratio`
is the median over rounds of `dense / variant`, with its p20 and p80.
"""

import argparse
import csv
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from prune.kernels import ALL, NONE, Layout, allowed_edges, prepare, segment_attention

SYSTEM, VIDEO, TIMESTAMP, BRIDGE, QUESTION, OPTIONS, TAIL, LAST = range(8)
RESULTS = Path(__file__).parent / "results"
CPU_SHAPES = [(8, 36), (32, 36), (64, 36), (64, 144)]
CUDA_SHAPES = [(frames, 144) for frames in (8, 32, 64, 128, 256)]
LARGEST_MASK = 2**30
"""Bytes: a dense mask beyond this is not built."""


def prompt(frames: int, tokens: int, system: int = 40, text: int = 85) -> Layout:
    """`[system][video][bridge 5][question and options][tail 15][last]`."""
    counts = [(SYSTEM, system), (VIDEO, frames * tokens), (BRIDGE, 5)]
    question = text - 21
    counts += [(QUESTION, question // 2), (OPTIONS, question - question // 2), (TAIL, 15)]
    role = torch.cat([torch.full((n,), r) for r, n in [*counts, (LAST, 1)]])
    frame = torch.full_like(role, -1)
    frame[role == VIDEO] = torch.arange(frames).repeat_interleave(tokens)
    return prepare(role[None].to(torch.int8), frame[None].to(torch.int32))


def reach(*edges: tuple[int, int, int]) -> Tensor:
    """All edges, but for the `(query role, key role, value)` given."""
    table = torch.full((1, 8, 8), ALL, dtype=torch.int32)
    for query, key, value in edges:
        table[:, query, key] = value
    return table


def sealed_map() -> list[Tensor]:
    """The published map for LLaVA-NeXT-7B-Video (arXiv 2510.13251), bridge and tail sealed.

    The numbers are its 1-based kept layers.
    """
    text = (BRIDGE, QUESTION, OPTIONS, TAIL)
    layers = []
    for layer in range(1, 33):
        edges = [(LAST, VIDEO, NONE), (LAST, LAST, NONE)]
        if not 6 <= layer <= 15:
            edges += [(VIDEO, VIDEO, 0)]
        if not 6 <= layer <= 20:
            edges += [(role, VIDEO, NONE) for role in text]
        if not 16 <= layer <= 25:
            edges += [(LAST, role, NONE) for role in text]
        if layer > 20:
            edges += [(VIDEO, VIDEO, NONE)]
        if layer > 25:
            edges += [(a, b, NONE) for a in (QUESTION, OPTIONS) for b in (QUESTION, OPTIONS)]
        layers.append(reach(*edges))
    return layers


LAYERS = {
    "causal": reach(),
    "frame local": reach((VIDEO, VIDEO, 0)),
    "window 1": reach((VIDEO, VIDEO, 1)),
    "window 4": reach((VIDEO, VIDEO, 4)),
    "sealed 1-5": sealed_map()[0],
    "sealed 6-15": sealed_map()[5],
    "sealed 16-20": sealed_map()[15],
    "sealed 21-25": sealed_map()[20],
    "sealed 26-32": sealed_map()[25],
}


@dataclass(frozen=True)
class Setting:
    """What one group of rows has in common."""

    layer: str
    frames: int
    tokens: int
    heads: tuple[int, int]
    head_dim: int
    dtype: torch.dtype
    queries: int | None = None

    def inputs(self, layout: Layout, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Random q, k and v."""
        generator = torch.Generator().manual_seed(0)
        length = layout.shape[1]
        shapes = [(self.heads[0], self.queries or length), *[(self.heads[1], length)] * 2]
        return tuple(  # type: ignore[return-value]
            torch.randn(1, h, s, self.head_dim, generator=generator).to(device, self.dtype)
            for h, s in shapes
        )


Run = Callable[[], Tensor]


def ours(q: Tensor, k: Tensor, v: Tensor, layout: Layout, table: Tensor, impl: str) -> Run:
    """One of our implementations."""
    return lambda: segment_attention(q, k, v, layout, None, table, impl=impl)  # type: ignore[call-overload]


def dense_backends(q: Tensor) -> list[SDPBackend]:
    """The dense kernels to compare with, by name."""
    if not q.is_cuda:
        return [SDPBackend.FLASH_ATTENTION]
    if q.dtype == torch.float32:
        return [SDPBackend.EFFICIENT_ATTENTION]
    return [
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
    ]


def dense(q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend) -> Run:
    """Causal attention over everything, of all rows or of the last ones."""
    gqa = q.shape[1] != k.shape[1]
    if backend == SDPBackend.EFFICIENT_ATTENTION and gqa:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    rows, keys = q.shape[2], k.shape[2]
    whole = rows == keys
    mask = None
    if not whole:
        # CUDA's kernels know this mask by name; the CPU's need it as a tensor.
        mask = causal_lower_right(rows, keys)
        if not q.is_cuda:
            mask = torch.ones(rows, keys, dtype=torch.bool).tril(keys - rows)

    def run() -> Tensor:
        with sdpa_kernel([backend]) if q.is_cuda else nullcontext():
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, enable_gqa=gqa)

    return run


def masked(q: Tensor, k: Tensor, v: Tensor, layout: Layout, table: Tensor) -> Run:
    """SDPA with a dense mask that is already there: what a user of the paper's code has."""
    gqa = q.shape[1] != k.shape[1]
    mask = edges_of(layout, table, q)
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=gqa)


def flex(q: Tensor, k: Tensor, v: Tensor, layout: Layout, table: Tensor) -> Run:
    """Compiled FlexAttention with a prebuilt `BlockMask` of the same pattern."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    role, frame = (torch.tensor(x[0]).to(q.device, torch.int32) for x in _arrays(layout))
    reaches, shift = table[0].to(q.device), k.shape[2] - q.shape[2]

    def mask_mod(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        i = i + shift
        framed = (frame[i] >= 0) & (frame[j] >= 0)
        distance = torch.where(framed, (frame[i] - frame[j]).abs(), 0)
        return (i >= j) & (distance <= reaches[role[i], role[j]])

    blocks = create_block_mask(mask_mod, None, None, q.shape[2], k.shape[2], device=q.device.type)
    compiled = torch.compile(flex_attention, dynamic=False)
    gqa = q.shape[1] != k.shape[1]
    return lambda: compiled(q, k, v, block_mask=blocks, enable_gqa=gqa)


def _arrays(layout: Layout) -> tuple:
    return layout.role, layout.frame


def edges_of(layout: Layout, table: Tensor, q: Tensor) -> Tensor:
    """The dense mask, bool `[1, 1, Sq, Sk]`, on the device of `q`."""
    role, frame = (torch.tensor(x).to(q.device) for x in _arrays(layout))
    return allowed_edges(role, frame, table, q.shape[2])


def density_of(layout: Layout, table: Tensor, queries: int) -> float:
    """Kept over causal edges, counted on the mask in slices of rows."""
    role, frame = (torch.tensor(x) for x in _arrays(layout))
    length, kept = layout.shape[1], 0
    for end in range(length - queries, length, 1024):
        stop = min(end + 1024, length)
        rows = stop - end
        kept += int(allowed_edges(role[:, :stop], frame[:, :stop], table, rows).sum())
    return kept / (queries * length - queries * (queries - 1) // 2)


def parity(out: Tensor, q: Tensor, k: Tensor, v: Tensor, layout: Layout, table: Tensor) -> str:
    """ "ok", or which of the two gates failed, on slices of rows against float64."""
    errors: list[Tensor] = []
    allowed_errors: list[Tensor] = []
    length, queries = k.shape[2], q.shape[2]
    repeat = q.shape[1] // k.shape[1]
    k64, v64 = (x.double().repeat_interleave(repeat, 1) for x in (k, v))
    k_same, v_same = (x.repeat_interleave(repeat, 1) for x in (k, v))
    role, frame = (torch.tensor(x).to(q.device) for x in _arrays(layout))
    # Some rows of every kind; all of them would take the square of the length in float64.
    starts = sorted({0, queries // 3, queries // 2, max(0, queries - 128)})
    for start in starts:
        stop = min(start + 128, queries)
        end = length - queries + stop
        mask = allowed_edges(role[:, :end], frame[:, :end], table, stop - start)
        empty = ~mask.any(-1, keepdim=True)
        rows, kv = q[:, :, start:stop], slice(0, end)
        options = {"attn_mask": mask | empty}
        exact = F.scaled_dot_product_attention(
            rows.double(), k64[:, :, kv], v64[:, :, kv], **options
        ).masked_fill(empty, 0)
        same = F.scaled_dot_product_attention(
            rows, k_same[:, :, kv], v_same[:, :, kv], **options
        ).masked_fill(empty, 0)
        errors.append((out[:, :, start:stop].double() - exact).abs().flatten())
        allowed_errors.append((same.double() - exact).abs().flatten())
    error, limit = torch.cat(errors), torch.cat(allowed_errors)
    if not error.isfinite().all() or error.max() > 2.0 * limit.max():
        return f"max error {error.max():.1e} > 2.0 x {limit.max():.1e}"
    if error.mean() > 1.2 * limit.mean():
        return f"mean error {error.mean():.1e} > 1.2 x {limit.mean():.1e}"
    return "ok"


def timed(runs: dict[str, Run], rounds: int, cuda: bool) -> dict[str, list[float]]:
    """Milliseconds of each variant, after two warm-up rounds.

    The order rotates, since the first after a long variant finds the caches full of its data.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds + 2):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            run = runs[name]
            if cuda:
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                torch.cuda.synchronize()
                elapsed = begin.elapsed_time(end)
            else:
                start = time.perf_counter()
                run()
                elapsed = (time.perf_counter() - start) * 1e3
            if i >= 2:
                times[name].append(elapsed)
    return times


def peak_mib(run: Run, cuda: bool) -> float:
    """Peak memory one call adds, MiB; on a CPU the growth of the largest resident set."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    live = peak = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak / 2**20


def variants(
    setting: Setting, layout: Layout, device: torch.device, with_flex: bool
) -> tuple[dict[str, Run], dict[str, str]]:
    """The runs of a setting that are correct, and why the others are missing."""
    q, k, v = setting.inputs(layout, device)
    runs: dict[str, Run] = {}
    for backend in dense_backends(q):
        runs[f"dense {backend.name.lower().removesuffix('_attention')}"] = dense(q, k, v, backend)
    if setting.layer == "map":
        tables = sealed_map()
        for impl in ["auto"] + (["sdpa", "triton"] if q.is_cuda else []):
            layers = [ours(q, k, v, layout, table, impl) for table in tables]
            runs[impl] = lambda layers=layers: [layer() for layer in layers][-1]  # type: ignore[misc]
        for name in [name for name in runs if name.startswith("dense")]:
            one = runs[name]
            runs[name] = lambda one=one: [one() for _ in tables][-1]  # type: ignore[misc]
        checks = {name: (runs[name], tables[-1]) for name in runs if not name.startswith("dense")}
    else:
        table = LAYERS[setting.layer]
        for impl in ["auto", "sdpa"] + (["triton"] if q.is_cuda else []):
            runs[impl] = ours(q, k, v, layout, table, impl)
        if q.shape[2] * k.shape[2] <= LARGEST_MASK:
            runs["sdpa + dense mask"] = masked(q, k, v, layout, table)
        if with_flex:
            runs["flex compiled"] = flex(q, k, v, layout, table)
        checks = {name: (run, table) for name, run in runs.items() if not name.startswith("dense")}
    wrong = {}
    for name in list(runs):
        try:
            out = runs[name]()
            if name in checks:
                wrong[name] = parity(out, q, k, v, layout, checks[name][1])
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        if wrong.get(name, "ok") == "ok":
            wrong.pop(name, None)
        else:
            del runs[name]
    return runs, wrong


def machine(device: torch.device) -> dict[str, str | int]:
    """What the numbers depend on."""
    try:
        import triton

        triton_version = triton.__version__
    except ImportError:
        triton_version = "none"
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else _cpu_name()
    return {
        "git": git.stdout.strip() or "none",
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "triton": triton_version,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "cpu"


def measure(
    setting: Setting, device: torch.device, rounds: int, with_flex: bool
) -> Iterator[dict[str, object]]:
    """The rows of one setting."""
    layout = prepare(*(torch.tensor(x) for x in _arrays(prompt(setting.frames, setting.tokens))))
    cuda = device.type == "cuda"
    runs, wrong = variants(setting, layout, device, with_flex)
    for name, reason in wrong.items():
        print(f"  no row for {name}: {reason}", file=sys.stderr)
    times = timed(runs, rounds, cuda)
    queries = setting.queries or layout.shape[1]
    tables = sealed_map() if setting.layer == "map" else [LAYERS[setting.layer]]
    kept = statistics.mean(density_of(layout, table, queries) for table in tables)
    base = min(
        (name for name in times if name.startswith("dense")),
        key=lambda name: statistics.median(times[name]),
    )
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times[base], values, strict=True)]
        yield {
            "layer": setting.layer,
            "frames": setting.frames,
            "tokens": setting.tokens,
            "queries": queries,
            "keys": layout.shape[1],
            "heads": f"{setting.heads[0]}/{setting.heads[1]}",
            "head_dim": setting.head_dim,
            "dtype": str(setting.dtype).removeprefix("torch."),
            "variant": name,
            "parity": "dense" if name.startswith("dense") else "ok",
            "density": f"{kept:.4f}",
            "rounds": rounds,
            **{f"{key}_ms": f"{x:.4f}" for key, x in _spread(values).items()},
            "baseline": base,
            **{f"ratio_{key}": f"{x:.3f}" for key, x in _spread(ratios).items()},
            "peak_mib": f"{peak_mib(runs[name], cuda):.1f}",
        }


def _spread(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    return {"median": statistics.median(values), "p20": tenths[1], "p80": tenths[7]}


def set_up_us(device: torch.device, frames: int, tokens: int) -> float:
    """Median microseconds to make the host side of a new layout's work, nothing cached."""
    from prune.kernels.segment_attention import blocks, worklist
    from prune.kernels.segment_attention.layout import read_reach

    layout, table = prompt(frames, tokens), read_reach(LAYERS["frame local"])
    times = []
    for _ in range(21):
        blocks.split.cache_clear()
        worklist.work_list.cache_clear()
        start = time.perf_counter()
        if device.type == "cuda":
            worklist.work_list(layout, layout.shape[1], table, 64, 64)
        else:
            blocks.split(layout, layout.shape[1], table)
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def settings(arguments: argparse.Namespace, cuda: bool) -> Iterator[Setting]:
    """The matrix of the device."""
    shapes = [tuple(map(int, s.split("x"))) for s in arguments.shapes] or (
        CUDA_SHAPES if cuda else CPU_SHAPES
    )
    heads = [(32, 32), (28, 4)] if cuda else [(8, 8)]
    default = ["bfloat16"] if cuda else ["float32"]
    for dtype in arguments.dtypes or default:
        for frames, tokens in shapes:
            for pair in heads:
                common = (frames, tokens, pair, 128 if cuda else 64, getattr(torch, dtype))
                for layer in arguments.layers or [*LAYERS, "text rows", "map"]:
                    if layer == "text rows":
                        yield Setting("frame local", *common, queries=85)
                    else:
                        yield Setting(layer, *common)


def main() -> None:
    """Measure, print and append."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", nargs="*", default=[], help="frames x tokens, such as 64x144")
    parser.add_argument("--layers", nargs="*", help=f"of {[*LAYERS, 'text rows', 'map']}")
    parser.add_argument("--dtypes", nargs="*", help="such as float32 bfloat16")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flex", action="store_true", help="compiled FlexAttention on a CPU too")
    parser.add_argument("--out", type=Path, help="CSV to append to")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    cuda = device.type == "cuda"
    environment = machine(device)
    label = "cpu" if not cuda else str(environment["device"]).lower().replace(" ", "-")
    path = arguments.out or RESULTS / f"attention_{label}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    print(*(f"{key}={value}" for key, value in environment.items()))
    seen = set()
    for setting in settings(arguments, cuda):
        shape = (setting.frames, setting.tokens)
        if shape not in seen:
            seen.add(shape)
            print(f"{shape[0]} x {shape[1]}: work list set-up {set_up_us(device, *shape):.0f} us")
        for row in measure(setting, device, arguments.rounds, arguments.flex or cuda):
            row = {**environment, **row}
            print(
                f"{row['layer']:>13} {row['frames']:>4}x{row['tokens']:<4} {row['queries']:>6} rows"
                f" {row['variant']:>18} {row['median_ms']:>10} ms  {row['ratio_median']:>7}x"
                f" [{row['ratio_p20']}, {row['ratio_p80']}]  {row['peak_mib']} MiB",
                flush=True,
            )
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, row)
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
