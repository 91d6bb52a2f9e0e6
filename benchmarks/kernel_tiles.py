"""Which tile shapes are fastest? What `configs.py` chose, beside its neighbours."""

import argparse
from dataclasses import replace
from functools import partial

import torch
from attention import label, machine
from attention_layers import LAYERS, prompt
from rows import append

from prune.kernels import prepare
from prune.kernels.segment_attention.configs import Tile, capability_of, config_for
from prune.kernels.segment_attention.gates import verdict
from prune.kernels.segment_attention.layout import read_reach
from prune.kernels.segment_attention.triton import triton_attention

TILES = [
    Tile(64, 64, 4, 2), Tile(64, 64, 4, 3), Tile(64, 32, 4, 3), Tile(64, 128, 4, 2),
    Tile(128, 64, 8, 2), Tile(128, 64, 8, 3), Tile(128, 128, 8, 2),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="on a CPU, interpreted")
    arguments = parser.parse_args()
    cuda = not arguments.small
    device = torch.device("cuda" if cuda else "cpu")
    dtype = torch.bfloat16 if cuda else torch.float16
    frames, tokens, heads = (2, 36, 1) if arguments.small else (64, 144, 32)
    environment = machine(device)
    segments = prompt(frames, tokens)
    layout = prepare(segments.role, segments.frame)
    generator = torch.Generator().manual_seed(0)
    for layer in ["frame local", "window 4", "sealed 6-15", "causal"][
        : 1 if arguments.small else 4
    ]:
        table = torch.from_numpy(LAYERS[layer][0])
        q, k, v = (
            torch.randn(1, heads, layout.shape[1], 128, generator=generator).to(device, dtype)
            for _ in range(3)
        )
        shipped = config_for(dtype, 128, layout.shape[1], 1, capability_of(device))
        alone = {tile: replace(shipped, tile=tile, tall=None) for tile in TILES}
        configs = {"shipped": shipped, **{str(tile): config for tile, config in alone.items()}}
        for name, config in configs.items():
            run = partial(triton_attention, q, k, v, layout, read_reach(table), 128**-0.5, config)
            said = verdict(run()[0], q, k, v, segments.role, segments.frame, table)
            if said != "ok":
                print(f"no row for {name}: {said}")
                continue
            milliseconds = float("nan")
            if cuda:
                from triton.testing import do_bench

                milliseconds = do_bench(run, warmup=5, rep=25, return_mode="median")
            row = {
                **environment,
                "layer": layer,
                "frames": frames,
                "tokens": tokens,
                "heads": heads,
                "tile": name,
                "median_ms": f"{milliseconds:.4f}",
            }
            print(*(f"{key}={value}" for key, value in list(row.items())[6:]), flush=True)
            append("kernel_tiles", label(environment, device), [row])


if __name__ == "__main__":
    main()
