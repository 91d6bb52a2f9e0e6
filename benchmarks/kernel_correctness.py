"""Is the Triton kernel right on this device, for every shape that it is compiled for?

Each row is one dtype, head dimension and head layout: the worst of all patterns, frame sizes and
numbers of queries, as the ratio of its error against float64 to masked SDPA's.
"""

import argparse
import itertools
import sys

import torch
from attention import machine
from attention_layers import LAYERS, prompt
from rows import append

from prune.kernels import prepare, segment_attention
from prune.kernels.segment_attention.configs import HEAD_DIMS
from prune.kernels.segment_attention.gates import MAX_ERROR_RATIO, MEAN_ERROR_RATIO, error_ratios

PATTERNS = ["frame local", "window 4", "sealed 6-15", "sealed 26-32"]
HEADS = [(4, 4), (28, 4), (7, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="on a CPU, interpreted")
    arguments = parser.parse_args()
    device = torch.device("cpu" if arguments.small else "cuda")
    # The interpreter rounds bfloat16 otherwise.
    dtypes = [torch.bfloat16, torch.float16, torch.float32]
    head_dims, heads = list(HEAD_DIMS), HEADS
    shapes, queries = [(6, 36), (6, 144), (20, 144)], [None, 1, 5, 63, 123]
    if arguments.small:
        dtypes, head_dims, heads = [torch.float16], [64], [(2, 1)]
        shapes, queries = [(2, 36)], [None, 1]
    environment = machine(device)
    failures = 0
    for dtype, head_dim, (num_heads, kv_heads) in itertools.product(dtypes, head_dims, heads):
        worst, mean, count = 0.0, 0.0, 0
        for (frames, tokens), pattern, rows in itertools.product(shapes, PATTERNS, queries):
            segments = prompt(frames, tokens)
            layout = prepare(segments.role, segments.frame)
            table = torch.from_numpy(LAYERS[pattern][0])
            length = layout.shape[1]
            # Fresh values for every case; a CPU generator gives the same ones everywhere.
            generator = torch.Generator().manual_seed(count)
            q, k, v = (
                torch.randn(1, h, s, head_dim, generator=generator).to(device, dtype)
                for h, s in ((num_heads, rows or length), (kv_heads, length), (kv_heads, length))
            )
            out = segment_attention(q, k, v, layout, None, table, impl="triton")
            ratios = error_ratios(out, q, k, v, segments.role, segments.frame, table)
            worst, mean, count = max(worst, ratios[0]), max(mean, ratios[1]), count + 1
        passed = worst <= MAX_ERROR_RATIO and mean <= MEAN_ERROR_RATIO
        failures += not passed
        row = {
            **environment,
            "dtype": str(dtype).removeprefix("torch."),
            "head_dim": head_dim,
            "heads": f"{num_heads}/{kv_heads}",
            "cases": count,
            "max_error_ratio": f"{worst:.3f}",
            "mean_error_ratio": f"{mean:.3f}",
            "passed": passed,
        }
        print(*(f"{key}={value}" for key, value in list(row.items())[6:]), flush=True)
        append(
            "kernel_correctness",
            str(environment["device"]) if device.type == "cuda" else "cpu",
            [row],
        )
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
