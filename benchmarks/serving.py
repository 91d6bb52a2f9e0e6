"""Does a plan serve more requests in vLLM? Dense beside pruned, asked by `vllm bench serve`.

`python -m benchmarks.serving`, in an environment with vLLM (`make test-vllm` makes one), starts two
servers with equal KV memory, the dense model's with vLLM's own class and the export's, and asks
both the same chats about videos, in turn, with 1 to 32 clients. It appends a row for each number of
clients to `benchmarks/results/serving_<device>.csv`; `benchmarks/serving_table.py` makes the table
of `docs/serving.md` of them.

Without `--dense` and `--pruned` it makes a model with random weights and the sealed preset. The
figures of the servers' clock hold on a quiet machine; the processor time of all their processes is
beside them, since other work may share the machine. No clip is sent twice to a server, so that none
is in its caches. Before the rows the export's answer is compared with the masked dense model's in
transformers; in float32 one that differs ends the run.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import vllm
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks.rows import append
from prune.bench.conditions import conditions
from prune.bench.driver import OutOfTimeError, drive
from prune.bench.endpoint import Endpoint
from prune.plan.plan import PLAN_FILE, Plan
from prune.results.load import Level, LoadRow
from tests.vllm.folders import at, export, sealed, small
from tests.vllm.requests import OPTIONS, Reference, Request, clip
from tests.vllm.server import Server, body, decoded, mp4, serving

WORDS = "red left who jumps door then blue runs before after the a dog hand turns".split()
TOLERANCE = 1e-4
"""Of log-probabilities in float32."""


@dataclass(frozen=True)
class Load:
    """What clients ask for.

    Attributes:
        frames: of a clip.
        side: of a frame, in pixels.
        tokens: of an answer.
        each: requests per client.
        least: requests in all, at least.
    """

    frames: int
    side: int
    tokens: int
    each: int
    least: int

    def requests(self, clients: int) -> int:
        """Number of requests of so many clients."""
        return max(self.least, self.each * clients)

    def request(self, seed: int) -> Request:
        """A question about a clip of its own."""
        rng = np.random.default_rng(seed)
        words = " ".join(rng.choice(WORDS, rng.integers(6, 30)))
        question = {"type": "text", "text": f"{words}?\n{OPTIONS}"}
        message = {"role": "user", "content": [{"type": "video"}, question]}
        return Request("chat", [message], (clip(seed, self.frames, self.side, self.side),))


@dataclass(frozen=True)
class Asked:
    """One server's answer to a load.

    Attributes:
        row: what its clients waited for.
        processor: seconds of processor time per request, of all the server's processes.
    """

    row: LoadRow
    processor: float


def _processor_time(server: Server) -> float:
    first = psutil.Process(server.pid)
    times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def ask(server: Server, load: Load, clients: int, seed: int, limit: float) -> Asked:
    """Let `vllm bench serve` ask a server.

    Args:
        server: which.
        load: what.
        clients: how many at once.
        seed: of the clips and questions.
        limit: seconds after which the run ends with an error.
    """
    count = load.requests(clients)
    chats = [body(load.request(seed + index))["messages"] for index in range(count)]
    before = _processor_time(server)
    level = Level("closed", clients)
    endpoint = Endpoint.open(server.url)
    try:
        found = drive(endpoint, "", chats, level, tokens=load.tokens, seconds=limit)
    except OutOfTimeError:
        raise SystemExit(f"vllm bench serve: not done in {limit:.0f} seconds") from None
    spent = _processor_time(server) - before
    if found.completed != count:
        raise SystemExit(f"{count - found.completed} of {count} requests failed")
    if found.tokens != count * load.tokens:
        raise SystemExit(f"answers of {found.tokens} tokens, not {count} times {load.tokens}")
    return Asked(found, spent / count)


COLUMNS = {
    "requests/s": lambda asked: asked.row.requests_per_second,
    "first token (s)": lambda asked: asked.row.first_p50 / 1000,
    # What the first token leaves of the time that the client waited.
    "token (s)": lambda asked: (asked.row.later_p50 or float("nan")) / 1000,
    "processor time (s/request)": lambda asked: asked.processor,
}


def row(clients: int, pairs: Sequence[tuple[Asked, Asked]]) -> dict[str, Any]:
    """The columns of dense and pruned runs of the same load, of which ratios are taken in pairs."""
    found: dict[str, Any] = {"clients": clients, "rounds": len(pairs)}
    ways = {"dense": [dense for dense, _ in pairs], "pruned": [pruned for _, pruned in pairs]}
    for title, value in COLUMNS.items():
        dense, pruned = (np.array([value(one) for one in ways[way]]) for way in ways)
        # Above 1 the pruned server is ahead, in all of them.
        ratio = pruned / dense if title == "requests/s" else dense / pruned
        for way, values in (("dense", dense), ("pruned", pruned)):
            found[f"{way} {title}"] = round(float(np.median(values)), 4)
        found[f"ratio {title.split(' (')[0]}"] = round(float(np.median(ratio)), 3)
    for way, asked in ways.items():
        found[f"{way} running"] = max(one.row.running or 0 for one in asked)
    print(
        f"{clients:3} clients: "
        + ", ".join(f"{name[6:]} x{value}" for name, value in found.items() if "ratio" in name)
        + f", running {found['dense running']} and {found['pruned running']}",
        flush=True,
    )
    return found


def made(root: Path, load: Load, layers: int, width: int) -> tuple[Path, Path]:
    """A dense model with random weights, and its export under the sealed preset."""
    heads = max(2, width // 64)
    model, processor = small(
        "qwen2_5_vl",
        {"out_hidden_size": width},
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
    )
    pixels = load.frames * load.side**2
    processor.video_processor.size = {"shortest_edge": 28 * 28, "longest_edge": pixels}
    model.save_pretrained(root / "dense")
    processor.save_pretrained(root / "dense")
    export(root / "dense", at(sealed(model), "vllm"), root / "pruned")
    return root / "dense", root / "pruned"


def checked(dense: Path, pruned: Path, server: Server, load: Load, dtype: str) -> dict[str, Any]:
    """The conditions of the rows, with how far the export's answer is from the masked model's."""
    kind = getattr(torch, dtype)
    model = AutoModelForImageTextToText.from_pretrained(dense, dtype=kind).eval()
    processor = AutoProcessor.from_pretrained(dense)
    plan = Plan.load(pruned / PLAN_FILE)
    chat = load.request(0)
    said = server.chat(chat)
    with tempfile.TemporaryDirectory() as folder:
        same = replace(chat, clips=(decoded(mp4(chat.clips[0][0]), Path(folder)),))
    expected = Reference(model, processor, plan).pruned(same)
    alike = said.tokens == expected.tokens
    parity = said.distance(expected) if alike else float("inf")
    if dtype == "float32" and not parity < TOLERANCE:
        raise SystemExit(f"the pruned server's answer is off by {parity}: no row is written")
    text = model.config.get_text_config()
    prompt = same.inputs(processor)["input_ids"].shape[1]
    return {
        "git": _commit(),
        **conditions(model, vllm=vllm.__version__),
        "plan": plan.name,
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "frames": load.frames,
        "side": load.side,
        "prompt": prompt,
        "answer": load.tokens,
        "parity": f"{parity:.1e}",
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def flags_of(args: argparse.Namespace) -> list[str]:
    """What both servers are started with."""
    context = ["--max-model-len", str(args.context), "--max-num-seqs", "32"]
    memory = ["--kv-cache-memory-bytes", str(args.kv_mib << 20), "--dtype", args.dtype]
    media = ["--limit-mm-per-prompt", '{"video": 1, "image": 0}', "--skip-mm-profiling"]
    # All frames of a clip, as they are.
    frames = ["--media-io-kwargs", '{"video": {"num_frames": -1}}']
    frames += ["--mm-processor-kwargs", '{"do_sample_frames": false}']
    return [*context, *memory, *media, *frames, *args.serve]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dense", type=Path, help="a model, with --pruned")
    parser.add_argument("--pruned", type=Path, help="its export")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=2, help="of each number of clients")
    parser.add_argument("--each", type=int, default=2, help="requests per client")
    parser.add_argument("--least", type=int, default=8, help="requests, at least")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--side", type=int, default=196, help="of a frame, in pixels")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--kv-mib", type=int, default=128, help="KV memory of each server")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--minutes", type=float, default=20, help="begin no row after this")
    parser.add_argument("--dry", action="store_true", help="write no rows")
    parser.add_argument("serve", nargs="*", help="behind --, more flags of `vllm serve`")
    args = parser.parse_args()
    if (args.dense is None) != (args.pruned is None):
        parser.error("--dense and --pruned go together")
    end = time.monotonic() + 60 * args.minutes
    load = Load(args.frames, args.side, args.tokens, args.each, args.least)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dense, pruned = args.dense, args.pruned
        if dense is None:
            dense, pruned = made(root, load, args.layers, args.width)
        flags = flags_of(args)
        servers = [
            stack.enter_context(serving(folder, root / f"{way} log", *flags, seconds=900))
            for way, folder in (("dense", dense), ("pruned", pruned))
        ]
        about = checked(dense, pruned, servers[1], load, args.dtype)
        # So that both have answered once.
        servers[0].chat(load.request(0))
        about |= {"model": "random weights" if args.dense is None else args.dense.name}
        about |= {"kv (MiB)": args.kv_mib, "serve": " ".join(args.serve)}
        seed = 1
        for clients in args.clients:
            pairs = []
            for turn in range(args.rounds):
                order = (0, 1) if turn % 2 == 0 else (1, 0)
                found = {
                    way: ask(servers[way], load, clients, seed, 60 * args.minutes) for way in order
                }
                pairs.append((found[0], found[1]))
                seed += load.requests(clients)
            found_row = {**about, "requests": load.requests(clients), **row(clients, pairs)}
            if not args.dry:
                append("serving", device, [found_row])
            if time.monotonic() > end:
                print("out of time: the rest is left out")
                break


if __name__ == "__main__":
    settings = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
    }
    os.environ.update(settings | os.environ)
    main()
