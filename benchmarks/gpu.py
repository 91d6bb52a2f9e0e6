"""Everything that only a GPU can tell, in one run of a few minutes.

`python benchmarks/gpu.py --minutes 8` runs the stages below, most valuable first, each in a process
of its own: a kernel that ends the CUDA context ends its stage alone. Rows are appended as they come
to `benchmarks/results/`, so that a run that is cut short keeps what it measured.

`--small` runs a small form of every stage on a CPU, with the kernel in Triton's interpreter where a
stage is about the kernel, and keeps no row.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        command: script and arguments on a GPU.
        small: script and arguments on a CPU.
        seconds: the longest that it may take on a GPU.
        interpreted: whether it runs the Triton kernel, which a CPU can only interpret.
    """

    command: str
    small: str
    seconds: int
    interpreted: bool = False


SMALL_LAYERS = "attention.py --rounds 3 --layers 'frame local' --device cpu"

STAGES = {
    "correctness": Stage("kernel_correctness.py", "kernel_correctness.py --small", 60, True),
    "layers": Stage(
        "attention.py --shapes 64x144 8x144 --heads 32/32 --rounds 11",
        f"{SMALL_LAYERS} --shapes 2x36 --heads 2/2",
        45,
    ),
    "model": Stage(
        "end_to_end.py --shape llava-next-7b --dtype bfloat16 --tokens 144 --frames 64 8 128",
        "end_to_end.py --frames 2 --runs 1 --batch 1 --device cpu",
        150,
    ),
    "long": Stage(
        "attention.py --shapes 256x144 128x144 --heads 32/32 --rounds 7"
        " --layers 'frame local' causal map 'window 4' 'text rows'",
        f"{SMALL_LAYERS} --shapes 3x36 --heads 2/2",
        45,
    ),
    "gqa": Stage(
        "attention.py --shapes 64x144 --heads 28/4 --rounds 11",
        f"{SMALL_LAYERS} --shapes 2x36 --heads 4/2",
        30,
    ),
    "frame sizes": Stage(
        "attention.py --shapes 64x36 64x81 64x196 --heads 32/32 --rounds 11 --layers 'frame local'",
        f"{SMALL_LAYERS} --shapes 2x9 --heads 2/2",
        30,
    ),
    "decode": Stage("kernel_decode.py", "kernel_decode.py --small", 30, True),
    "trace": Stage(
        "trace.py --shape llava-next-7b --dtype bfloat16 --tokens 144 --frames 8",
        "trace.py --frames 2 --batch 4 --device cpu",
        90,
    ),
    "frozen": Stage(
        "end_to_end.py --shape llava-next-7b --dtype bfloat16 --tokens 144 --frames 64 --frozen",
        "end_to_end.py --frames 2 --runs 1 --batch 1 --device cpu --frozen",
        90,
    ),
    "flex": Stage(
        "attention.py --shapes 64x144 --heads 32/32 --rounds 11 --flex"
        " --layers 'frame local' 'window 4'",
        f"{SMALL_LAYERS} --shapes 2x36 --heads 2/2",
        60,
    ),
    "tiles": Stage("kernel_tiles.py", "kernel_tiles.py --small", 60, True),
    "evidence": Stage(
        "evidence_speed.py --model mid", "evidence_speed.py --model tiny --count 4", 60
    ),
}


def main() -> None:
    """Run the stages that fit the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--small", action="store_true", help="try the stages on a CPU")
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES), metavar="NAME")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    failed = []
    for name in arguments.stages:
        stage, left = STAGES[name], deadline - time.monotonic()
        if left < 5:
            print(f"== {name}: not measured, no time left", flush=True)
            continue
        script, *rest = shlex.split(stage.small if arguments.small else stage.command)
        environment = dict(os.environ)
        if arguments.small:
            environment["PRUNE_RESULTS"] = tempfile.mkdtemp()
            if stage.interpreted:
                environment["TRITON_INTERPRET"] = "1"
        command = [sys.executable, str(HERE / script), *rest]
        print(f"== {name}: {script} {shlex.join(rest)}", flush=True)
        start = time.monotonic()
        try:
            limit = left if arguments.small else min(left, stage.seconds)
            code = subprocess.run(command, env=environment, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
            print(f"== {name}: cut short, later rows were not measured", flush=True)
        print(f"== {name}: exit {code} after {time.monotonic() - start:.0f} s", flush=True)
        if code:
            failed.append(name)
    if failed:
        sys.exit(f"stages that did not finish: {', '.join(failed)}")


if __name__ == "__main__":
    main()
