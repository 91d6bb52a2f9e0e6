"""How many requests a device can serve: memory and throughput for a range of batch sizes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from prune.bench.energy import energy_meter
from prune.bench.latency import generate, now
from prune.bench.side import Side
from prune.errors import ResourceError
from prune.inputs.encode import read
from prune.inputs.samples import Sample
from prune.results.latency import CapacityRow
from prune.runtime.cache import cache_in

TOKENS = 32
"""Tokens that every request of a batch generates."""


def capacity(
    compared: Sequence[Side],
    sample: Sample,
    num_frames: int,
    batches: Sequence[int],
    on_done: Callable[[int], None] = lambda n: None,
) -> tuple[CapacityRow, ...]:
    """Measure each batch size once on each side, after a warm-up of the smallest.

    A batch that does not fit into the device's memory has a row that says so.

    Raises:
        ResourceError: not even the smallest fits.
    """
    rows = []
    for number, batch in enumerate(sorted(batches)):
        for side in compared:
            inputs = read(side.processor, [sample] * batch, num_frames).to(side.model.device)
            with side.running():
                if number == 0:
                    generate(side.model, inputs, 2)
                try:
                    rows.append(_measure(side, inputs, batch))
                except torch.OutOfMemoryError:
                    if number == 0:
                        raise ResourceError(
                            f"{batch} requests of {num_frames} frames do not fit into the memory "
                            "of the device: use fewer frames"
                        ) from None
                    rows.append(CapacityRow(side.name, batch, 0.0, 0, None, None))
            on_done(1)
    return tuple(rows)


def _measure(side: Side, inputs: Any, batch: int) -> CapacityRow:
    device = side.model.device
    cuda = device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    joules = energy_meter(device)
    drawn = joules() if joules else 0.0
    start = now(device)
    out = generate(side.model, inputs, TOKENS)
    seconds = (now(device) - start) / 1000
    peak = torch.cuda.max_memory_allocated(device) - before if cuda else None
    return CapacityRow(
        side.name,
        batch,
        batch * TOKENS / seconds,
        kv_bytes(cache_in(out)),
        peak,
        joules() - drawn if joules else None,
    )


def kv_bytes(cache: Any) -> int:
    """Bytes that a transformers cache actually holds."""
    tensors = (tensor for layer in cache.layers for tensor in (layer.keys, layer.values))
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(held.values())
