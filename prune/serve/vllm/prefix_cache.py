"""The search for a request's prefix in the cache of a pruned model."""

from vllm.v1.core.kv_cache_manager import KVCacheBlocks, KVCacheManager
from vllm.v1.core.kv_cache_utils import KVCacheBlock
from vllm.v1.request import Request

from prune.serve.vllm.blocks import PrunedManager


class PrefixCache:
    """Looks a request's prefix up in the cache, in place of vLLM's own search.

    vLLM's goes block by block of consecutive tokens; a pruned model's blocks hold other tokens in
    each group of layers, so here all groups have the whole prefix, or there is none.
    """

    def __init__(self, manager: KVCacheManager, managers: list[PrunedManager]):
        self._manager, self._managers = manager, managers
        manager.get_computed_blocks = self.look_up

    def look_up(self, request: Request) -> tuple[KVCacheBlocks, int, int]:
        """See `KVCacheManager.get_computed_blocks`: blocks, their tokens, and no boundary."""
        nothing = self._manager.empty_kv_cache_blocks, 0, 0
        if not self._manager.prefix_cache_lookup_enabled(request):
            return nothing
        found: list[list[KVCacheBlock]] = []
        tokens, needed, size = 0, 0, request.num_tokens
        for manager in self._managers:
            tokens, blocks = manager.cached(request.request_id)
            if blocks is None or tokens >= size:
                return nothing
            found.append(blocks)
            needed += manager.get_num_blocks_to_allocate(
                request.request_id, size, blocks, tokens, tokens, size
            )
        # Blocks that are written into are copied: a request that fits without must not wait for it.
        if needed > self._manager.block_pool.get_num_free_blocks():
            return nothing
        return self._manager.create_kv_cache_blocks(tuple(found)), tokens, 0
