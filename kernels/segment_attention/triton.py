"""Attention by the Triton kernels: one program per (query tile, head) for prefill and decode."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from prune.kernels.segment_attention.configs import Config, capability_of, config_for
from prune.kernels.segment_attention.device_work import DeviceWork, device_work
from prune.kernels.segment_attention.launch import Launch
from prune.kernels.segment_attention.layout import Layout, ReachTable
from prune.kernels.segment_attention.programs import merge_kernel, segment_kernel
from prune.kernels.segment_attention.worklist import FIELDS, MERGE_FIELDS, section_size


def triton_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: Layout,
    reach: ReachTable,
    scale: float,
    config: Config | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention by the Triton kernel; arguments as in `segment_attention`, which validates them.

    The output has the memory order `[B, Sq, Hq, D]`. Temporary memory is `O(N)`.

    Args:
        config: other sizes than those of `configs.py`, to compare them.

    Returns:
        `[B, Hq, Sq, D]` and the LSE, float32 `[B, Hq, Sq]`.
    """
    if scale <= 0:
        q, scale = (-q, -scale) if scale else (torch.zeros_like(q), 1.0)
    batch, num_heads, num_queries, head_dim = q.shape
    if config is None:
        per_kv, capability = num_heads // k.shape[1], capability_of(q.device)
        config = config_for(q.dtype, head_dim, num_queries, per_kv, capability)
    # A program holds one query head in prefill, all query heads of a KV head in decode.
    num_tiles = num_heads if config.pack == 1 else k.shape[1]
    work = device_work(layout, num_queries, reach, config, num_tiles, q.device)

    out = q.new_empty(batch, num_queries, num_heads, head_dim).transpose(1, 2)
    lse = q.new_empty(batch, num_heads, num_queries, dtype=torch.float32)
    part_out = part_lse = lse
    if work.slots:
        partial = work.slots, num_heads // len(reach.values), config.part_rows
        part_out = q.new_empty(*partial, head_dim, dtype=torch.float32)
        part_lse = q.new_empty(partial, dtype=torch.float32)
    strides = *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3]
    launches, merge = _launches(work, config, q.shape, k.shape, strides, q.dtype, scale)
    tensors = q, k, v, out, lse, part_out, part_lse
    for launch in launches:
        launch(tensors)
    if merge is not None:
        merge(tensors[3:])
    return out, lse


@lru_cache(maxsize=512)
def _launches(
    work: DeviceWork,
    config: Config,
    q_shape: torch.Size,
    k_shape: torch.Size,
    strides: tuple[int, ...],
    dtype: torch.dtype,
    scale: float,
) -> tuple[list[Launch], Launch | None]:
    """The launches of a call, but for its tensors; the layers of a pass share them."""
    batch, num_heads, num_queries, head_dim = q_shape
    num_kv_heads, num_keys = k_shape[1:3]
    num_groups, num_roles = work.reach.shape[:2]
    num_tiles = num_heads if config.pack == 1 else num_kv_heads
    tiles_per_group = num_tiles // num_groups
    tiles_per_section = section_size(
        tiles_per_group, num_tiles // num_kv_heads, batch * num_keys, config.cached_tokens
    )
    # Elements in 16 bytes if every stride is a multiple of that, else 1: two variants, no more.
    width = 16 // dtype.itemsize
    align = width if all(stride % width == 0 for stride in strides) else 1
    steps = tuple(stride // align for stride in strides)
    numbers = (
        *steps, scale * math.log2(math.e), num_heads, num_queries, num_keys,
        num_heads // num_kv_heads, tiles_per_group, tiles_per_section,
    )  # fmt: skip
    table_stride = 0 if num_groups == 1 else num_roles**2
    launches = []
    for items, tile, mixed in (
        (work.tall, config.tall or config.tile, False),
        (work.plain, config.tile, False),
        (work.mixed, config.tile, True),
    ):
        if count := len(items):
            constants = (
                head_dim, config.block_d, tile.block_q, config.pack, tile.block_n, config.table_n,
                config.part_rows, mixed, align, len(FIELDS), config.precision, tile.num_stages,
            )  # fmt: skip
            rest = (
                work.role, work.frame, work.reach, items, work.wholes, work.spans, work.begins,
                *numbers, count, num_roles, table_stride,
            )  # fmt: skip
            grid = count * tiles_per_group, 1
            launches.append(Launch(segment_kernel, grid, rest, constants, tile.options(mixed)))
    if not work.slots:
        return launches, None
    heads_per_group, rows = num_heads // num_groups, min(config.tile.block_q, 16)
    grid = len(work.merges) * heads_per_group, config.part_rows // rows
    merge = Launch(
        merge_kernel,
        grid,
        (work.merges, *steps[9:], num_heads, num_queries, heads_per_group),
        (head_dim, config.block_d, config.part_rows, rows, align, MERGE_FIELDS),
        {"num_warps": 4},
    )
    return launches, merge
