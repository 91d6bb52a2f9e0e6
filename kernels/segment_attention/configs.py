"""Tile shapes, fixed per dtype, head dimension and phase; nothing is tuned at run time.

They were chosen by compiling ahead of time for sm_80 and sm_90 (no spills, two programs per
multiprocessor, 64 rows so that a warp group issues `wgmma`), not by timing on a GPU.
"""

from dataclasses import dataclass
from functools import cache

import torch

HEAD_DIMS = (64, 72, 80, 96, 128, 256)
"""The head dimensions that are compiled and tested."""

MIN_ROWS = 16
"""The smallest operand of a tensor core."""


@dataclass(frozen=True)
class Config:
    """One compiled variant.

    Attributes:
        block_q: query positions of a tile.
        pack: query heads of a tile; 1 in prefill.
        block_n: keys of a tile.
        table_n: keys of a tile whose mask is looked up, which needs registers for the table.
        block_d: head dimension, padded to a power of two.
        num_warps: warps of a program.
        num_stages: key tiles in flight.
        precision: of float32 products; half precision always accumulates in float32.
    """

    block_q: int
    pack: int
    block_n: int
    table_n: int
    block_d: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"


@cache
def config_for(dtype: torch.dtype, head_dim: int, num_queries: int, heads_per_kv: int) -> Config:
    """The variant for a call: decode if its rows, for all heads of a KV head, fit one tile."""
    block_d = max(16, _power_of_2(head_dim))
    pack, block_q = _power_of_2(heads_per_kv), _power_of_2(num_queries)
    if dtype == torch.float32:
        # IEEE products have no tensor core, and their operands fill the registers: ptxas spills
        # when the heads of a KV head are packed as well.
        return Config(16, 1, 16, 16, block_d, num_warps=8, num_stages=1)
    if block_d > 128:
        rows, block_n, table_n, num_warps, num_stages = 64, 32, 16, 8, 2
    else:
        rows, block_n, table_n, num_warps, num_stages = 64, 64, 32, 4, 2
    if pack * block_q > rows:
        pack, block_q = 1, rows
    else:
        block_q = max(block_q, MIN_ROWS // pack)
        if pack * block_q <= 32 or block_d <= 128:
            # One small tile of queries: the keys are the work, so more of them are in flight.
            block_n, table_n, num_warps, num_stages = 32, 32, 4, 3
    return Config(block_q, pack, block_n, table_n, block_d, num_warps, num_stages)


def _power_of_2(x: int) -> int:
    return 1 << (x - 1).bit_length()
