"""Prompts with a video on vLLM's own kernel: one call for the sequences of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm import _custom_ops as ops

from prune.serve.vllm.sequences import Ints, Sequences, join

BLOCK = 32
"""Tokens of a block in which the keys of a call are put together."""

ISA = "vec"
"""The layout in which vLLM's CPU kernel stores keys: `[D, block]`, values `[block, D]`."""


@dataclass(frozen=True)
class Shape:
    """What vLLM's kernel splits its work by.

    Attributes:
        heads: of queries.
        kv_heads: of keys.
        width: of a head.
        dtype: of all of them.
    """

    heads: int
    kv_heads: int
    width: int
    dtype: torch.dtype


class Scratch:
    """Blocks for the keys of one call, which the next one uses again."""

    def __init__(self) -> None:
        self._blocks: Tensor | None = None

    def take(self, blocks: int, shape: Shape) -> Tensor:
        """`[blocks, Hkv, BLOCK, 2 D]`, finite wherever nothing was written."""
        size = (blocks, shape.kv_heads, BLOCK, 2 * shape.width)
        held = self._blocks
        if held is None or held.dtype != shape.dtype or held.shape[1:] != size[1:]:
            held = torch.zeros(size, dtype=shape.dtype)
        elif len(held) < blocks:
            held = torch.zeros(size, dtype=shape.dtype)
        self._blocks = held
        return held[:blocks]


class Call:
    """One call of vLLM's kernel.

    Args:
        found: sequences of every prompt, with the place of each of its rows among the layer's, and
            of each of its keys among those that the call is given.
        shape: of the layer's attention.
    """

    def __init__(self, found: Sequence[tuple[Sequences, Ints, Ints]], shape: Shape):
        placed = [
            replace(one, rows=rows[one.rows], keys=keys[one.keys]) for one, rows, keys in found
        ]
        all_ = join(placed)
        blocks = -(-all_.keys_of // BLOCK)
        first = np.cumsum(blocks) - blocks
        begin = np.cumsum(all_.keys_of) - all_.keys_of
        within = np.arange(len(all_.keys)) - np.repeat(begin, all_.keys_of)
        table = np.minimum(first[:, None] + np.arange(blocks.max(initial=0)), blocks.sum() - 1)
        starts = np.concatenate([[0], np.cumsum(all_.rows_of)])
        self._shape, self._blocks = shape, int(blocks.sum())
        self._rows, self._keys = torch.from_numpy(all_.rows), torch.from_numpy(all_.keys)
        self._slots = torch.from_numpy(np.repeat(first * BLOCK, all_.keys_of) + within)
        self._table = torch.from_numpy(table.astype(np.int32))
        self._starts = torch.from_numpy(starts.astype(np.int32))
        self._lengths = torch.from_numpy(all_.keys_of.astype(np.int32))
        self._causal = torch.from_numpy(all_.causal.astype(np.int32))
        if self._blocks:
            self._plan = ops.cpu_attn_get_scheduler_metadata(
                num_reqs=len(all_.rows_of),
                num_heads=shape.heads,
                num_kv_heads=shape.kv_heads,
                head_dim=shape.width,
                seq_lens=self._lengths,
                dtype=shape.dtype,
                query_start_loc=self._starts,
                causal=False,
                sliding_window_size=-1,
                isa=ISA,
                enable_kv_split=False,
                dynamic_causal=self._causal,
            )

    def run(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        scratch: Scratch,
        **how: Any,
    ) -> None:
        """Attend, and write the rows of the sequences into `output`.

        Args:
            query: `[n, Hq, D]`, of the layer.
            key: `[m, Hkv, D]`.
            value: `[m, Hkv, D]`.
            output: `[n, Hq, D]`.
            scratch: room for the keys.
            how: more of the kernel's arguments.
        """
        if not self._blocks:
            return
        shape = self._shape
        cache = scratch.take(self._blocks, shape)
        cache = cache.view(self._blocks, shape.kv_heads, 2 * BLOCK, shape.width)
        keys, values = cache.chunk(2, dim=2)
        ops.cpu_attn_reshape_and_cache(
            key[self._keys], value[self._keys], keys, values, self._slots, ISA
        )
        rows = query[self._rows]
        read = torch.empty_like(rows)
        ops.cpu_attention_with_kv_cache(
            query=rows,
            key_cache=keys,
            value_cache=values,
            output=read,
            query_start_loc=self._starts,
            seq_lens=self._lengths,
            causal=False,
            block_table=self._table,
            scheduler_metadata=self._plan,
            dynamic_causal=self._causal,
            **how,
        )
        output[self._rows] = read
