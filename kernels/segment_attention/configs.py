"""Tile shapes, fixed per dtype, head dimension, phase and kind of GPU.

Those of Hopper were timed on an H200 (`benchmarks/gpu.py`, stage `tiles`). What the compiler makes
of all of them is asserted in `tests/kernels/test_segment_aot.py`: nothing is spilled on sm_80,
sm_90 and sm_100.
"""

from dataclasses import dataclass
from functools import cache

import torch

HEAD_DIMS = (64, 72, 80, 96, 128, 256)
"""The head dimensions that are compiled and tested."""

CACHED_BYTES = 24 * 2**20
"""Keys and values that are under way at once: half of the L2 cache of an H100."""

MIN_ROWS = 16
"""The smallest operand of a tensor core."""


@dataclass(frozen=True)
class Tile:
    """The shape of a program.

    Attributes:
        block_q: query positions.
        block_n: keys of a step.
        num_warps: warps.
        num_stages: steps in flight.
        max_registers: of a thread, so that one more program fits a multiprocessor; None leaves it
            to the compiler. The variant for looked-up steps has no such limit.
    """

    block_q: int
    block_n: int
    num_warps: int
    num_stages: int
    max_registers: int | None = None

    @property
    def area(self) -> int:
        """Query positions times keys of a step."""
        return self.block_q * self.block_n

    def options(self, mixed: bool) -> dict[str, int]:
        """Of the compiler, for the variant with or without looked-up steps."""
        options = {"num_warps": self.num_warps}
        if self.max_registers is not None and not mixed:
            options["maxnreg"] = self.max_registers
        return options


@dataclass(frozen=True)
class Config:
    """The compiled variants of a call.

    Attributes:
        tile: of most rows.
        tall: of long rows: many that read far more keys than a tile has; None if there is no other.
        pack: query heads of a tile; 1 in prefill.
        table_n: keys of a looked-up step, which needs registers for the table.
        block_d: head dimension, padded to a power of two.
        min_chunk: keys below which a tile is not cut.
        cached_tokens: tokens of one KV head whose keys and values stay in a GPU's cache.
        precision: of float32 products; half precision always accumulates in float32.
    """

    tile: Tile
    tall: Tile | None
    pack: int
    table_n: int
    block_d: int
    min_chunk: int
    cached_tokens: int
    precision: str = "ieee"

    @property
    def part_rows(self) -> int:
        """Query positions of a partial result."""
        return max(self.tile.block_q, self.tall.block_q if self.tall else 0)


@cache
def capability_of(device: torch.device) -> int:
    """Its compute capability, 90 for 9.0; the interpreter is taken for a Hopper."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


@cache
def config_for(
    dtype: torch.dtype, head_dim: int, num_queries: int, heads_per_kv: int, capability: int
) -> Config:
    """The variants for a call: decode if its rows, for all heads of a KV head, fit one tile.

    Args:
        capability: compute capability, of `capability_of`.
    """
    block_d = max(16, _power_of_2(head_dim))
    cached = CACHED_BYTES // (2 * head_dim * dtype.itemsize)
    pack, block_q = _power_of_2(heads_per_kv), _power_of_2(num_queries)
    if dtype == torch.float32:
        # IEEE products have no tensor core, and their operands fill the registers: ptxas spills
        # when the heads of a KV head are packed as well.
        return Config(Tile(16, 16, 8, 1), None, 1, 16, block_d, 128, cached)
    if pack * block_q > 64:
        if block_d > 128:
            return Config(Tile(64, 32, 8, 2), None, 1, 16, block_d, 1024, cached)
        tile = Tile(64, 64, 4, 3)
        if block_d < 128:
            return Config(tile, None, 1, 32, block_d, 1024, cached)
        if not 90 <= capability < 120:
            # Operands of these tensor cores are in registers. This tile fits three times.
            tile = Tile(64, 32, 4, 3, max_registers=168)
        # It takes 254 registers, and is 1.10x as fast on an H200 (`benchmarks/results`, tiles).
        tall = Tile(128, 128, 8, 2) if capability == 90 else None
        return Config(tile, tall, 1, 32, block_d, 1024, cached)
    block_q = max(block_q, MIN_ROWS // pack)
    if pack * block_q > 32 and block_d > 128:
        return Config(Tile(block_q, 32, 8, 2), None, pack, 16, block_d, 256, cached)
    # One small tile of queries: the keys are the work, so more of them are in flight.
    return Config(Tile(block_q, 32, 4, 3), None, pack, 32, block_d, 256, cached)


def _power_of_2(x: int) -> int:
    return 1 << (x - 1).bit_length()
