"""What does a decode step's attention cost: SDPA, and the Triton kernel with and without a graph?

One query against the cache of a dense prompt of 64 frames, of which a plan lets it read all, or all
but the video. Event times of single calls hold the host's launch; a graph's replay does not.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from attention import label, machine
from attention_layers import LAYERS, prompt
from rows import append
from torch import Tensor

from prune.kernels import prepare, segment_attention
from prune.kernels.segment_attention.gates import verdict

LAYERS_READ = {"all": "causal", "no video": "sealed 26-32"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="on a CPU, interpreted")
    arguments = parser.parse_args()
    cuda = not arguments.small
    device = torch.device("cuda" if cuda else "cpu")
    frames, dtype = (2, torch.float16) if arguments.small else (64, torch.bfloat16)
    environment = machine(device)
    segments = prompt(frames, 144 if cuda else 9)
    layout = prepare(segments.role, segments.frame)
    for heads, kv_heads in [(32, 32), (28, 4)]:
        generator = torch.Generator().manual_seed(0)
        q, k, v = (
            torch.randn(1, h, s, 128, generator=generator).to(device, dtype)
            for h, s in ((heads, 1), (kv_heads, layout.shape[1]), (kv_heads, layout.shape[1]))
        )
        for reads, layer in LAYERS_READ.items():
            table = torch.from_numpy(LAYERS[layer][0])
            runs = {
                impl: partial(segment_attention, q, k, v, layout, None, table, impl=impl)
                for impl in ("sdpa", "triton")
            }
            if cuda:
                runs["triton, graph"] = _graph(runs["triton"])
            for name, one in runs.items():
                said = verdict(one(), q, k, v, segments.role, segments.frame, table)
                if said != "ok":
                    print(f"no row for {name}: {said}")
                    continue
                row = {
                    **environment,
                    "frames": frames,
                    "keys": layout.shape[1],
                    "heads": f"{heads}/{kv_heads}",
                    "reads": reads,
                    "variant": name,
                    "median_ms": f"{_milliseconds(one, cuda):.4f}",
                }
                print(*(f"{key}={value}" for key, value in list(row.items())[6:]), flush=True)
                append("kernel_decode", label(environment, device), [row])


def _graph(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`run`, captured; its inputs stay where they are."""
    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay


def _milliseconds(run: Callable[[], Tensor], cuda: bool) -> float:
    if not cuda:
        run()
        return float("nan")
    times = []
    for _ in range(30):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[5:])


if __name__ == "__main__":
    main()
