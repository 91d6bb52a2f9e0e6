"""What does incremental recompute save a trace?

`python benchmarks/trace.py` builds a model with random weights on the device at hand and runs every
pathway of Map the Flow (published and sealed) around every layer of one prompt twice: the plain way
(each knockout a masked forward pass, batched) and incrementally. It appends a row to
`benchmarks/results/trace_<device>.csv`, with the largest difference of an answer logit beside it.
"""

import argparse
import time

import torch
from random_models import SHAPES, Shape, build, prompt
from rows import append
from transformers import BatchFeature

from prune.bench.conditions import conditions
from prune.layout.pathways import PUBLISHED, SEALED, Pathway
from prune.runtime.attention import seam
from prune.runtime.captured import Replay, capture
from prune.trace.dense_pass import record_dense
from prune.trace.incremental import knockout_logits
from prune.trace.knockout import Knockouts, plain_logits
from prune.trace.windows import default_window

MID = Shape(16, 512, 1408, 8, 8, (256, 4, 14), "llava-next-7b")


def row(
    name: str, replay: Replay, pathways: tuple[Pathway, ...], batch: int, clock: str
) -> dict[str, object]:
    """Time both ways for one prompt."""
    now = time.process_time if clock == "cpu" else time.perf_counter

    def finished() -> float:
        if replay.model.device.type == "cuda":
            torch.cuda.synchronize()
        return now()

    layers = len(replay.text_model.layers)
    knockouts = Knockouts(pathways, layers, default_window(layers))
    with seam(replay.model):
        marks = [finished()]
        fast = knockout_logits(record_dense(replay), pathways, knockouts.windows())
        marks.append(finished())
        plain = plain_logits(replay, knockouts, batch)[:, :, 0]
        marks.append(finished())
    incremental, whole = marks[1] - marks[0], marks[2] - marks[1]
    return {
        "pathways": name,
        "knockouts": len(pathways) * layers,
        "incremental_s": f"{incremental:.2f}",
        "plain_s": f"{whole:.2f}",
        "ratio": f"{whole / incremental:.1f}",
        "largest_difference": f"{(fast - plain).abs().max().item():.1e}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=["mid", "llava-next-7b"], default="mid")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=36, help="video tokens a frame")
    parser.add_argument("--batch", type=int, default=8, help="knockouts in a plain forward pass")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    shape = MID if args.shape == "mid" else SHAPES[args.shape]
    model, processor = build(shape, args.tokens, args.device, dtype)
    replay = capture(model, processor, BatchFeature(prompt(processor, args.frames, dtype)))
    label = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    everything = PUBLISHED + SEALED
    for name, pathways in (("all", everything), ("without cross-frame", everything[1:])):
        found = {
            **conditions(model, clock=args.clock, shape=args.shape),
            "frames": args.frames,
            "tokens": replay.segments.shape[1],
            **row(name, replay, pathways, args.batch, args.clock),
        }
        print(*(f"{key}={value}" for key, value in found.items()), flush=True)
        append("trace", label, [found])


if __name__ == "__main__":
    main()
