"""vLLM's scheduler, which tells the cache managers what each request's tokens are."""

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.request import Request

from prune.serve.vllm.blocks import PrunedManager, register_spec
from prune.serve.vllm.layout import served_plan


class PrunedScheduler(AsyncScheduler):
    """Also right where vLLM schedules synchronously: it then has no placeholders to add."""

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        register_spec()
        super().__init__(vllm_config, *args, **kwargs)
        self._plan = served_plan(vllm_config)

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
            for manager in self._managers:
                manager.place(request.request_id, layout)
        super().add_request(request)

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        found = super()._free_request(request, *args, **kwargs)
        for manager in self._managers:
            manager.forget(request.request_id)
        return found
