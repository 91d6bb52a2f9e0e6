"""What vLLM's model runner is about to run, for the layers of a pruned model.

The first generation of its runners, which CPUs use, has no hook for a model's own metadata, so the
one method that prepares each step is wrapped.
"""

from functools import wraps
from typing import Any

from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from prune.serve.vllm.layout import RequestLayout
from prune.serve.vllm.state import STATE
from prune.serve.vllm.step import step_of


def wrap_runner() -> None:
    """Have every step noted in the state of the model that runs it."""
    build = GPUModelRunner._build_attention_metadata
    if hasattr(build, "__wrapped__"):
        return

    @wraps(build)
    def noting(runner: Any, *args: Any, **kwargs: Any) -> Any:
        state = getattr(runner.get_model(), STATE, None)
        scheduled = kwargs.get("num_scheduled_tokens")
        if state is not None:
            step = None
            if scheduled:
                requests = list(runner.input_batch.req_ids)
                computed = runner.input_batch.num_computed_tokens_cpu[: len(requests)].tolist()
                layouts = _layouts(runner, state, requests)
                shown = runner.num_prompt_logprobs
                step = step_of(layouts, computed, scheduled, requests, shown)
            state.begin(step)
        return build(runner, *args, **kwargs)

    GPUModelRunner._build_attention_metadata = noting


def _layouts(runner: Any, state: Any, requests: list[str]) -> dict[str, RequestLayout]:
    """The layouts of requests; those of requests that are over are dropped."""
    known: dict[str, RequestLayout] = state.layouts
    for request in [request for request in known if request not in runner.requests]:
        del known[request]
    for request in requests:
        if request not in known:
            found = runner.requests[request]
            known[request] = state.plan.layout(
                found.prompt_token_ids, found.mm_features or (), found.num_prompt_tokens
            )
    return known
