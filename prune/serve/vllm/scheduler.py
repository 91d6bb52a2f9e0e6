"""vLLM's scheduler, which tells the cache managers what each request's tokens are, and counts."""

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.metrics.stats import SchedulerStats
from vllm.v1.request import Request

from prune.serve.vllm.blocks import PrunedManager, register_spec
from prune.serve.vllm.layout import RequestLayout, served_plan, with_frames
from prune.serve.vllm.metrics import Counts
from prune.serve.vllm.prefix import prefix_of
from prune.serve.vllm.prefix_cache import PrefixCache


class PrunedScheduler(AsyncScheduler):
    """Also right where vLLM schedules synchronously: it then has no placeholders to add."""

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        register_spec()
        super().__init__(vllm_config, *args, **kwargs)
        self._plan = served_plan(vllm_config)
        self._layouts: dict[str, RequestLayout] = {}
        self._counts = Counts()
        PrefixCache(self.kv_cache_manager, self._managers)

    @property
    def _managers(self) -> list[PrunedManager]:
        managers = self.kv_cache_manager.coordinator.single_type_managers
        return [manager for manager in managers if isinstance(manager, PrunedManager)]

    def add_request(self, request: Request) -> None:
        """See `Scheduler`."""
        if request.request_id not in self.requests:
            layout = self._plan.layout(
                request.prompt_token_ids, request.mm_features or (), request.num_prompt_tokens
            )
            self._layouts[request.request_id] = layout
            self._counts.dense_requests += layout.unknown
            prefix = prefix_of(request, layout)
            for manager in self._managers:
                manager.place(request.request_id, layout, prefix)
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """See `Scheduler`."""
        output = super().schedule(*args, **kwargs)
        for new in output.scheduled_new_reqs:
            new.mm_features = with_frames(new.mm_features, self.requests[new.req_id].mm_features)
        for request_id, tokens in output.num_scheduled_tokens.items():
            # vLLM has counted them as computed.
            stop = self.requests[request_id].num_computed_tokens
            computed, keys = self._layouts[request_id].states(stop - tokens, stop)
            self._counts.states_computed += computed
            self._counts.states_keys_only += keys
            self._counts.states_dense += tokens * self._plan.plan.num_layers
        return output

    def make_stats(self, *args: Any, **kwargs: Any) -> SchedulerStats | None:
        """See `Scheduler`."""
        stats: SchedulerStats | None = super().make_stats(*args, **kwargs)
        if stats is not None:
            counts, self._counts = self._counts, Counts()
            counts.blocks_freed = sum(manager.take_freed() for manager in self._managers)
            counts.layers = self._plan.pruned_layers
            counts.put_into(stats)
        return stats

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        found = super()._free_request(request, *args, **kwargs)
        self._layouts.pop(request.request_id, None)
        for manager in self._managers:
            manager.forget(request.request_id)
        return found
