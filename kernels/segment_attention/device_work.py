"""Work lists on a device."""

from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from prune.kernels.segment_attention.configs import Config
from prune.kernels.segment_attention.layout import Layout, ReachTable
from prune.kernels.segment_attention.worklist import work_list


@dataclass(frozen=True, eq=False)
class DeviceWork:
    """A work list and what its mask needs, int32 on one device; fields as in `WorkList`."""

    tall: Tensor
    plain: Tensor
    mixed: Tensor
    wholes: Tensor
    spans: Tensor
    begins: Tensor
    merges: Tensor
    role: Tensor
    frame: Tensor
    reach: Tensor
    slots: int
    _streams: set[int] = field(default_factory=set)


_captured: list[DeviceWork] = []
"""What CUDA graphs read when they are replayed: kept for the life of the process."""


def device_work(
    layout: Layout,
    num_queries: int,
    reach: ReachTable,
    config: Config,
    num_tiles: int,
    device: torch.device,
) -> DeviceWork:
    """The work list on `device`, ready to be read on the current stream.

    Raises:
        RuntimeError: a CUDA graph is being captured, and this call was not made before.
    """
    work = _on_device(layout, num_queries, reach, config, num_tiles, device)
    if device.type == "cuda":
        stream = torch.cuda.current_stream(device)
        if stream.cuda_stream not in work._streams:
            # The allocator must not give the memory away while this stream reads it.
            work.role.record_stream(stream)
            work._streams.add(stream.cuda_stream)
        if torch.cuda.is_current_stream_capturing() and work not in _captured:
            _captured.append(work)
    return work


@lru_cache(maxsize=256)
def _on_device(
    layout: Layout,
    num_queries: int,
    reach: ReachTable,
    config: Config,
    num_tiles: int,
    device: torch.device,
) -> DeviceWork:
    work = work_list(layout, num_queries, reach, config, num_tiles)
    arrays = (
        work.tall, work.plain, work.mixed, work.wholes, work.spans, work.begins, work.merges,
        layout.role, layout.frame, reach.values,
    )  # fmt: skip
    # One copy for all. Each array starts at 16 bytes: Triton compiles a variant per alignment.
    padded = [-(-x.size // 4) * 4 for x in arrays]
    host = torch.zeros(sum(padded), dtype=torch.int32)
    for view, x in zip(np.split(host.numpy(), np.cumsum(padded)[:-1]), arrays, strict=True):
        view[: x.size] = x.reshape(-1)
    tensors = _copied(host, device).split(padded)
    views = (t[: x.size].view(x.shape) for t, x in zip(tensors, arrays, strict=True))
    tall, plain, mixed, wholes, spans, begins, merges, role, frame, table = views
    return DeviceWork(
        tall, plain, mixed, wholes, spans, begins, merges, role, frame, table, work.slots
    )  # fmt: skip


def _copied(host: Tensor, device: torch.device) -> Tensor:
    """`host` on a device, arrived: no stream has to wait for it, and none waits for another."""
    if device.type != "cuda":
        return host
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "segment_attention: a new layout cannot be read while a CUDA graph is captured; call "
            "it once with these shapes and this layout before the capture"
        )
    stream = _copy_stream(device)
    with torch.cuda.stream(stream):
        copy = host.pin_memory().to(device, non_blocking=True)
        stream.synchronize()
    return copy


@cache
def _copy_stream(device: torch.device) -> "torch.cuda.Stream":
    return torch.cuda.Stream(device)
