"""How long does the host take over a new layout, before anything is launched?

Once per prompt its runs are read, and once per prompt and distinct reach table the blocks of `sdpa`
and the work list of `triton` are made. Nothing of the layout itself is cached here, but prompts of
the same form have come before, as they have in a process that serves.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from attention import label, machine
from attention_layers import LAYERS, prompt
from rows import append

from prune.kernels import Layout, prepare, read_reach
from prune.kernels.segment_attention import blocks, folding, layout, worklist
from prune.kernels.segment_attention.configs import config_for
from prune.layout.segments import Role, Segments

FRAMES = [8, 64, 256, 1024]
STAMP = 8
"""Tokens of text before each frame, where there is any."""


def with_text(frames: int, tokens: int) -> Segments:
    """`prompt`, with a timestamp before every frame."""
    runs: list[tuple[int, int, int]] = []
    for role, frame, length in prompt(frames, tokens).runs():
        if frame >= 0:
            runs.append((Role.TIMESTAMP, frame, STAMP))
        runs.append((role, frame, length))
    return Segments.of_runs(runs)


def microseconds(make: Callable[[], object], forget: Callable[[], None], rounds: int) -> float:
    """The 10th percentile, since other work on the machine only ever adds to it."""
    times = []
    for _ in range(rounds):
        forget()
        start = time.perf_counter()
        make()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.quantiles(times, n=10)[0]


def measured(segments: Segments, layer: str, rounds: int) -> dict[str, str]:
    """Of one prompt and reach table."""
    table = read_reach(torch.from_numpy(LAYERS[layer][0]))
    length = segments.shape[1]
    config = config_for(torch.bfloat16, 128, length, 1, 90)

    def read() -> Layout:
        return prepare(segments.role, segments.frame)

    def forget() -> None:
        for cache in (layout._layout, folding._fold, blocks.split, worklist.work_list):
            cache.cache_clear()

    found = read()
    made: dict[str, Callable[[], object]] = {
        "runs_us": read,
        "blocks_us": lambda: blocks.split(found, length, table),
        "work_list_us": lambda: worklist.work_list(found, length, table, config, 32),
    }
    return {name: f"{microseconds(make, forget, rounds):.0f}" for name, make in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="*", default=FRAMES)
    parser.add_argument("--tokens", type=int, default=144)
    parser.add_argument("--rounds", type=int, default=101)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    environment = machine(device)
    for frames in arguments.frames:
        for text, make in (("none", prompt), ("timestamps", with_text)):
            for layer in ("frame local", "window 4"):
                segments = make(frames, arguments.tokens)
                row = {
                    **environment,
                    "layer": layer,
                    "frames": frames,
                    "tokens": arguments.tokens,
                    "text_between": text,
                    "length": segments.shape[1],
                    **measured(segments, layer, arguments.rounds),
                }
                print(*(f"{key}={value}" for key, value in list(row.items())[6:]), flush=True)
                append("kernel_layouts", label(environment, device), [row])


if __name__ == "__main__":
    main()
