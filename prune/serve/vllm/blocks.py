"""The KV blocks of a group of layers: for stored tokens alone, given back when no longer read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm.config import VllmConfig
from vllm.v1.core.kv_cache_utils import KVCacheBlock
from vllm.v1.core.single_type_kv_cache_manager import FullAttentionManager
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheSpec
from vllm.v1.kv_cache_spec_registry import KVCacheSpecRegistry

from prune.serve.vllm.layout import RequestLayout
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
        self._freed = 0

    def place(self, request_id: str, layout: RequestLayout) -> None:
        """Note what a request's tokens are, before any block is asked for."""
        self._storages[request_id] = layout.storage(self._layers, self.block_size)

    def forget(self, request_id: str) -> None:
        """Drop the note of a request that is over."""
        self._storages.pop(request_id, None)

    def _as_tokens(self, request_id: str, tokens: int) -> int:
        """The number of tokens for which vLLM counts as many blocks as a request needs."""
        size: int = self.block_size
        return self._storages[request_id].blocks(tokens) * size

    def get_num_blocks_to_allocate(
        self, request_id: str, num_tokens: int, *args: Any, **kwargs: Any
    ) -> int:
        """See `SingleTypeKVCacheManager`."""
        num_tokens = self._as_tokens(request_id, num_tokens)
        found: int = super().get_num_blocks_to_allocate(request_id, num_tokens, *args, **kwargs)
        return found

    def allocate_new_blocks(
        self, request_id: str, num_tokens: int, num_tokens_main_model: int
    ) -> list[KVCacheBlock]:
        """See `SingleTypeKVCacheManager`."""
        num_tokens = self._as_tokens(request_id, num_tokens)
        found: list[KVCacheBlock] = super().allocate_new_blocks(request_id, num_tokens, num_tokens)
        return found

    def remove_skipped_blocks(
        self,
        request_id: str,
        processed_computed_tokens: int,
        num_prompt_tokens: int | None = None,
    ) -> None:
        """Give back what only the prompt reads, once all of it is computed."""
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

    def take_freed(self) -> int:
        """Blocks that running requests gave back since this was asked."""
        freed, self._freed = self._freed, 0
        return freed


def register_spec() -> None:
    """Make the manager known for the spec."""
    # vLLM registers its own only as long as there is none.
    KVCacheSpecRegistry._ensure_registered()
    KVCacheSpecRegistry.register(PrunedSpec, PrunedManager, PrunedSpec)
