"""The KV blocks of a group of layers: for stored tokens alone, given back when no longer read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm.config import VllmConfig
from vllm.v1.core.kv_cache_utils import (
    BlockHash,
    BlockHashWithGroupId,
    KVCacheBlock,
    make_block_hash_with_group_id,
)
from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheSpec
from vllm.v1.kv_cache_spec_registry import KVCacheSpecRegistry

from prune.serve.vllm.layout import RequestLayout
from prune.serve.vllm.prefix import Prefix
from prune.serve.vllm.storage import Storage


@dataclass(frozen=True, kw_only=True)
class PrunedSpec(FullAttentionSpec):
    """The cache of one layer; vLLM puts layers of equal specs into a group.

    Attributes:
        layers: those that store their tokens together (`Rules.groups`).
    """

    layers: tuple[int, ...]

    @classmethod
    def merge(cls, specs: Sequence["PrunedSpec"]) -> "PrunedSpec":
        """The spec of a group; `AssertionError` keeps others out, which is how vLLM asks."""
        assert len({spec.layers for spec in specs}) == 1
        return specs[0]

    def is_uniform_with_collection(self, kv_cache_specs: dict[str, KVCacheSpec]) -> bool:
        """Whether all layers of a model share one group."""
        return all(spec == self for spec in kv_cache_specs.values())

    def max_num_blocks_per_req(self, vllm_config: VllmConfig, max_len: int) -> int:
        """Width of a block table: tokens of two kinds may each end within a block."""
        width: int = super().max_num_blocks_per_req(vllm_config, max_len)
        return width + 1


class PrunedManager(FullAttentionManager):
    """Gives out the blocks of one group."""

    def __init__(self, kv_cache_spec: PrunedSpec, *args: Any, **kwargs: Any) -> None:
        super().__init__(kv_cache_spec, *args, **kwargs)
        self._layers = kv_cache_spec.layers
        self._storages: dict[str, Storage] = {}
        self._prefixes: dict[str, Prefix] = {}
        # Blocks with tokens of a shared prefix that a request is to write into, by request.
        self._shared: dict[str, list[int]] = {}
        self._named: set[str] = set()
        self._freed = 0

    def place(self, request_id: str, layout: RequestLayout, prefix: Prefix | None) -> None:
        """Note what a request's tokens are, before any block is asked for."""
        self._storages[request_id] = layout.storage(self._layers, self.block_size)
        if prefix is not None:
            self._prefixes[request_id] = prefix

    def forget(self, request_id: str) -> None:
        """Drop the note of a request that is over."""
        self._storages.pop(request_id, None)
        self._prefixes.pop(request_id, None)

    def cached(self, request_id: str) -> tuple[int, list[KVCacheBlock] | None]:
        """The tokens of a request's prefix, and its blocks if the cache has all of them."""
        prefix = self._prefixes.get(request_id)
        if prefix is None:
            return 0, None
        hashes = self._hashes(request_id, prefix)
        found = [self.block_pool.cached_block_hash_to_block.get_one_block(one) for one in hashes]
        return prefix.tokens, None if None in found else found

    def _hashes(self, request_id: str, prefix: Prefix) -> list[BlockHashWithGroupId]:
        """The names of a prefix's blocks, in their order."""
        count = self._storages[request_id].blocks(prefix.tokens)
        return [
            make_block_hash_with_group_id(
                BlockHash(prefix.key + index.to_bytes(4, "big")), self.kv_cache_group_id
            )
            for index in range(count)
        ]

    def _share(self, request_id: str, computed: int) -> None:
        """Let other requests find a prefix's blocks, also once this one has given them back."""
        prefix = self._prefixes.get(request_id)
        if prefix is None or computed < prefix.tokens or request_id in self._named:
            return
        self._named.add(request_id)
        blocks = self.req_to_blocks[request_id]
        for name, block in zip(self._hashes(request_id, prefix), blocks, strict=False):
            if block != self._null_block:
                self.block_pool._insert_block_hash(name, block, num_tokens=prefix.tokens)

    def cache_blocks(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: vLLM would name blocks before they are computed, and by other tokens."""

    def _has_partial_local_hit(self, *args: Any) -> bool:
        # vLLM would copy the last block; which are open is for the storage to say.
        return False

    def add_local_computed_blocks(
        self, request_id: str, new_computed_blocks: Sequence[KVCacheBlock], *args: Any
    ) -> None:
        """See `SingleTypeKVCacheManager`."""
        super().add_local_computed_blocks(request_id, new_computed_blocks, *args)
        if new_computed_blocks:
            self._shared[request_id] = self._open(request_id)

    def _open(self, request_id: str) -> list[int]:
        tokens = self._prefixes[request_id].tokens
        return self._storages[request_id].open_blocks(tokens)

    def _as_tokens(self, request_id: str, tokens: int) -> int:
        """The number of tokens for which vLLM counts as many blocks as a request needs."""
        size: int = self.block_size
        return self._storages[request_id].blocks(tokens) * size

    def get_num_blocks_to_allocate(
        self,
        request_id: str,
        num_tokens: int,
        new_computed_blocks: Sequence[KVCacheBlock],
        *args: Any,
        **kwargs: Any,
    ) -> int:
        """See `SingleTypeKVCacheManager`."""
        num_tokens = self._as_tokens(request_id, num_tokens)
        found: int = super().get_num_blocks_to_allocate(
            request_id, num_tokens, new_computed_blocks, *args, **kwargs
        )
        return found + (len(self._open(request_id)) if new_computed_blocks else 0)

    def allocate_new_blocks(
        self, request_id: str, num_tokens: int, num_tokens_main_model: int
    ) -> list[KVCacheBlock]:
        """See `SingleTypeKVCacheManager`."""
        for index in self._shared.pop(request_id, ()):
            (own,) = self.block_pool.get_new_blocks(1)
            self._apply_cow(request_id, index, self.req_to_blocks[request_id][index], own)
        num_tokens = self._as_tokens(request_id, num_tokens)
        found: list[KVCacheBlock] = super().allocate_new_blocks(request_id, num_tokens, num_tokens)
        return found

    def remove_skipped_blocks(
        self,
        request_id: str,
        processed_computed_tokens: int,
        num_prompt_tokens: int | None = None,
    ) -> None:
        """Share the prefix once it is computed, and give back what only the prompt reads."""
        if self.enable_caching:
            self._share(request_id, processed_computed_tokens)
        storage = self._storages.get(request_id)
        if storage is None or processed_computed_tokens < storage.prompt:
            return
        runs, blocks = storage.passing_runs, self.req_to_blocks.get(request_id)
        if not runs or not blocks or blocks[runs[0][0]] == self._null_block:
            return
        free = self.block_pool.get_num_free_blocks()
        for first, stop in runs:
            self._remove_blocks_in_range(request_id, first, stop)
        self._freed += self.block_pool.get_num_free_blocks() - free

    def pop_blocks_for_free(self, request_id: str) -> list[KVCacheBlock]:
        """See `SingleTypeKVCacheManager`; a preempted request comes again, with other blocks."""
        self._shared.pop(request_id, None)
        self._named.discard(request_id)
        found: list[KVCacheBlock] = super().pop_blocks_for_free(request_id)
        return found

    def take_freed(self) -> int:
        """Blocks that running requests gave back since this was asked."""
        freed, self._freed = self._freed, 0
        return freed


def register_spec() -> None:
    """Make the manager known for the spec."""
    # vLLM registers its own only as long as there is none.
    KVCacheSpecRegistry._ensure_registered()
    KVCacheSpecRegistry.register(PrunedSpec, PrunedManager, PrunedSpec)
