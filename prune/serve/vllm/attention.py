"""Attention of a pruned model in vLLM, over vLLM's own paged cache.

All of it runs on vLLM's own kernel. Generated tokens, and requests without a video, read the cache
by a table of the blocks that they read; prompts with a video are sequences of rows and the keys
that these read (`sequences.py`), put together for the call. Of plans by KV head prompts run on
`prune.kernels.segment_attention`.
"""

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.v1.attention.backend import CommonAttentionMetadata
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadata,
    CPUAttentionMetadataBuilder,
)

from prune.serve.vllm.blocks import PrunedSpec
from prune.serve.vllm.decode import Decode, Reads
from prune.serve.vllm.prefill import ISA
from prune.serve.vllm.state import STATE, State
from prune.serve.vllm.step import Step
from prune.serve.vllm.tables import Tables
from prune.serve.vllm.views import PrunedMetadata


class PrunedBuilder(CPUAttentionMetadataBuilder):
    """Prepares the metadata of a group for each step."""

    def __init__(self, kv_cache_spec: PrunedSpec, *args: Any, **kwargs: Any) -> None:
        super().__init__(kv_cache_spec, *args, **kwargs)
        self.isa = ISA
        self._set_isa_to_layers(self.layer_names)
        context = self.vllm_config.compilation_config.static_forward_context
        self._state: State = getattr(context[self.layer_names[0]].impl, STATE)
        self._layers = kv_cache_spec.layers
        self._exact = self._state.plan.rules.keeps_exactly(self._layers)
        self._decode: Decode | None = None

    def build(
        self,
        common_prefix_len: int,
        common_attn_metadata: CommonAttentionMetadata,
        fast_build: bool = False,
    ) -> PrunedMetadata | CPUAttentionMetadata:
        """See `AttentionMetadataBuilder`."""
        step, given = self._state.step, common_attn_metadata
        if step is None:
            return super().build(common_prefix_len, given, fast_build)
        table, size = given.block_table_tensor, self.block_size
        if self._decode is None:
            most = self.vllm_config.scheduler_config.max_num_seqs
            self._decode = Decode(most, table.shape[1], size, table.device)
        storages = [part.layout.storage(self._layers, size) for part in step.parts]
        plain = tuple(
            index
            for index, part in enumerate(step.parts)
            if part.plain and (self._exact or part.layout.needs is None)
        )
        stock = reads = None
        if plain:
            self._decode.hold(storages)
            reads = self._decode.write(table, given.seq_lens)
            stock = super().build(0, _of(given, step, reads, plain))
        tables = Tables(storages, table, size)
        slots = reads.slots if reads is not None and len(plain) == step.size else None
        return PrunedMetadata(step, self._layers, tables, stock, plain, slots)


def _of(
    given: CommonAttentionMetadata, step: Step, reads: Reads, plain: tuple[int, ...]
) -> CommonAttentionMetadata:
    """The metadata of some requests alone, with the blocks of what generated tokens read."""
    if len(plain) == len(step.parts):
        # `replace` takes as long as all else here.
        found = copy(given)
        found.seq_lens, found.block_table_tensor = reads.tokens, reads.blocks
        return found
    lengths = [step.parts[index].stop - step.parts[index].start for index in plain]
    starts = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]), dtype=torch.int32)
    return replace(
        given,
        query_start_loc=starts,
        query_start_loc_cpu=starts,
        seq_lens=reads.tokens[list(plain)],
        num_reqs=len(plain),
        num_actual_tokens=sum(lengths),
        max_query_len=max(lengths),
        block_table_tensor=reads.blocks[list(plain)],
    )


class PrunedImpl(CPUAttentionBackendImpl):
    """The attention of one layer.

    Attributes:
        layer_idx: which.
    """

    layer_idx: int

    def forward(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        attn_metadata: PrunedMetadata | None,
        output: Tensor,
        output_scale: Tensor | None = None,
        output_block_scale: Tensor | None = None,
    ) -> Tensor:
        """See `AttentionImpl`; the rows are those that the layer takes."""
        if not isinstance(attn_metadata, PrunedMetadata):
            return output
        view, stock = attn_metadata.view(self.layer_idx), attn_metadata.stock
        size = len(view.slots)
        self.do_kv_cache_update(layer, key[:size], value[:size], kv_cache, view.slots)
        if stock is not None and view.plain is None:
            super().forward(layer, query, key, value, kv_cache, stock, output)
        elif stock is not None:
            read = torch.empty_like(output[view.plain])
            super().forward(layer, query[view.plain], key, value, kv_cache, stock, read)
            output[view.plain] = read
        view.attend(
            self.layer_idx, query, key, value, kv_cache, output,
            scratch=getattr(self, STATE).scratch, scale=self.scale, alibi_slopes=self.alibi_slopes,
            sliding_window=self.sliding_window, softcap=self.logits_soft_cap, s_aux=self.sinks,
        )  # fmt: skip
        return output


class PrunedBackend(CPUAttentionBackend):
    """vLLM's backend for CPUs, under a plan."""

    # vLLM's own update would also store the tokens that the layer does not take.
    forward_includes_kv_cache_update = True

    @staticmethod
    def get_impl_cls() -> type[PrunedImpl]:
        """See `AttentionBackend`."""
        return PrunedImpl

    @staticmethod
    def get_builder_cls() -> type[PrunedBuilder]:
        """See `AttentionBackend`."""
        return PrunedBuilder
