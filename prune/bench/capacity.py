"""How many requests a device can serve: memory and throughput for a range of batch sizes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from prune.bench.energy import energy_meter
from prune.bench.latency import generate, now
from prune.bench.side import Side
from prune.errors import ResourceError
from prune.inputs.encode import decode, encode
from prune.inputs.samples import Sample
from prune.results.latency import CapacityRow
from prune.runtime.cache import cache_in

TOKENS = 32
"""Tokens that every request of a batch generates."""

RUNS = 3
"""Of each batch on each side, in turn: of a single one the rest of the machine could decide."""


def capacity(
    compared: Sequence[Side],
    sample: Sample,
    num_frames: int,
    batches: Sequence[int],
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[CapacityRow, ...]:
    """Measure each batch size on each side, after a warm-up: the run of median throughput.

    A batch that does not fit into the device's memory has a row that says so.

    Args:
        compared: dense and pruned.
        sample: whose clip and question every request has.
        num_frames: of the clip.
        batches: numbers of requests.
        on_done: called after each of the `RUNS` runs.

    Raises:
        ResourceError: not even the smallest fits.
    """
    clip = decode(sample, num_frames)
    rows: list[CapacityRow] = []
    for batch in sorted(batches):
        found: dict[str, list[CapacityRow]] = {side.name: [] for side in compared}
        for run in range(0 if rows else -1, RUNS):
            for side in compared:
                inputs = encode(side.processor, [sample] * batch, [clip] * batch)
                row = _measure(side, inputs.to(side.model.device), batch)
                if not rows and not row.tokens_per_second:
                    raise ResourceError(
                        f"{batch} requests of {num_frames} frames do not fit into the memory of "
                        "the device: use fewer frames"
                    )
                if run >= 0:
                    found[side.name].append(row)
                    on_done(1)
        for runs in found.values():
            rows.append(sorted(runs, key=lambda row: row.tokens_per_second)[RUNS // 2])
    return tuple(rows)


def _measure(side: Side, inputs: Any, batch: int) -> CapacityRow:
    device = side.model.device
    cuda = device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    joules = energy_meter(device)
    try:
        with side.running():
            drawn = joules() if joules else 0.0
            start = now(device)
            out = generate(side.model, inputs, TOKENS)
            seconds = (now(device) - start) / 1000
    except torch.OutOfMemoryError:
        return CapacityRow(side.name, batch, 0.0, 0, None, None)
    return CapacityRow(
        side.name,
        batch,
        batch * TOKENS / seconds,
        kv_bytes(cache_in(out)),
        torch.cuda.max_memory_allocated(device) - before if cuda else None,
        joules() - drawn if joules else None,
    )


def kv_bytes(cache: Any) -> int:
    """Bytes that a transformers cache actually holds."""
    tensors = (tensor for layer in cache.layers for tensor in (layer.keys, layer.values))
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(held.values())
