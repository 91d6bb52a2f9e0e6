"""Is the Triton kernel right on this device, for every shape that it is compiled for?

Each row is one dtype, head dimension and head layout: the worst of all patterns, frame sizes and
numbers of queries, as the ratio of its error against float64 to masked SDPA's. A process for each
dtype and head dimension, since most of the time goes into compiling.
"""

import argparse
import itertools
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from attention import label, machine
from attention_layers import LAYERS, prompt
from rows import append

from prune.kernels import prepare, segment_attention
from prune.kernels.segment_attention.configs import HEAD_DIMS
from prune.kernels.segment_attention.gates import MAX_ERROR_RATIO, MEAN_ERROR_RATIO, error_ratios

PATTERNS = ["frame local", "window 4", "sealed 6-15", "sealed 26-32"]
HEADS = [(4, 4), (28, 4), (7, 1)]
SHAPES = [(6, 36), (20, 144)]
QUERIES = [None, 1, 5, 123]


def checked(dtype: torch.dtype, head_dim: int, small: bool) -> list[dict[str, object]]:
    """The rows of one dtype and head dimension."""
    torch.set_num_threads(1)
    device = torch.device("cpu" if small else "cuda")
    heads, shapes, queries = HEADS, SHAPES, QUERIES
    if small:
        heads, shapes, queries = [(2, 1)], [(2, 36)], [None, 1]
    rows = []
    for num_heads, kv_heads in heads:
        worst, mean, count = 0.0, 0.0, 0
        for (frames, tokens), pattern, num_queries in itertools.product(shapes, PATTERNS, queries):
            segments = prompt(frames, tokens)
            layout = prepare(segments.role, segments.frame)
            table = torch.from_numpy(LAYERS[pattern][0])
            length = layout.shape[1]
            generator = torch.Generator(device).manual_seed(count)
            q, k, v = (
                torch.randn(1, h, s, head_dim, generator=generator, device=device).to(dtype)
                for h, s in (
                    (num_heads, num_queries or length),
                    (kv_heads, length),
                    (kv_heads, length),
                )
            )
            out = segment_attention(q, k, v, layout, None, table, impl="triton")
            ratios = error_ratios(out, q, k, v, segments.role, segments.frame, table)
            worst, mean, count = max(worst, ratios[0]), max(mean, ratios[1]), count + 1
        rows.append(
            {
                "dtype": str(dtype).removeprefix("torch."),
                "head_dim": head_dim,
                "heads": f"{num_heads}/{kv_heads}",
                "cases": count,
                "max_error_ratio": f"{worst:.3f}",
                "mean_error_ratio": f"{mean:.3f}",
                "passed": worst <= MAX_ERROR_RATIO and mean <= MEAN_ERROR_RATIO,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="on a CPU, interpreted")
    small = parser.parse_args().small
    device = torch.device("cpu" if small else "cuda")
    environment = machine(device)
    # The interpreter rounds bfloat16 otherwise.
    dtypes = [torch.float16] if small else [torch.bfloat16, torch.float16, torch.float32]
    head_dims = (64,) if small else HEAD_DIMS
    workers = max(1, min(12, (os.cpu_count() or 1) - 2))
    failures = 0
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = [
            pool.submit(checked, dtype, head_dim, small)
            for dtype, head_dim in itertools.product(dtypes, head_dims)
        ]
        for job in as_completed(jobs):
            for row in job.result():
                failures += not row["passed"]
                print(*(f"{key}={value}" for key, value in row.items()), flush=True)
                append("kernel_correctness", label(environment, device), [{**environment, **row}])
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
