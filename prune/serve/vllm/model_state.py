"""A plan in the second generation of vLLM's model runners, by the hook that it has for models.

GPUs have it by default, and CPUs where Triton compiles for them.
"""

from typing import Any

import torch
from vllm.config.compilation import CUDAGraphMode
from vllm.v1.core.sched.output import NewRequestData
from vllm.v1.worker.gpu.input_batch import InputBatch
from vllm.v1.worker.gpu.model_states.default import DefaultModelState

from prune.serve.vllm.state import STATE, State
from prune.serve.vllm.step import step_of


class PrunedModelState(DefaultModelState):
    """Tells the layers of a pruned model what each step runs."""

    def __init__(self, vllm_config: Any, model: Any, *args: Any) -> None:
        super().__init__(vllm_config, model, *args)
        self._state: State = getattr(model, STATE)
        self._shown: set[str] = set()

    def add_request(self, req_index: int, new_req_data: NewRequestData) -> None:
        """See `ModelState`; a preempted request is added again."""
        super().add_request(req_index, new_req_data)
        name, asked = new_req_data.req_id, new_req_data.sampling_params
        self._state.layouts[name] = self._state.plan.layout(
            new_req_data.prompt_token_ids, new_req_data.mm_features, new_req_data.prompt_len
        )
        if asked is not None and asked.prompt_logprobs is not None:
            self._shown.add(name)

    def remove_request(self, req_id: str) -> None:
        """See `ModelState`."""
        super().remove_request(req_id)
        self._state.layouts.pop(req_id, None)
        self._shown.discard(req_id)

    def prepare_attn(
        self,
        input_batch: InputBatch,
        cudagraph_mode: CUDAGraphMode,
        block_tables: tuple[torch.Tensor, ...],
        *args: Any,
        for_capture: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """See `ModelState`.

        No one asked the prompts of vLLM's dummy batches. Those that graphs are captured of run like
        dense requests, in the buffers that generated tokens have; others without a plan.
        """
        known, names = self._state.layouts, input_batch.req_ids
        step = None
        if for_capture or all(name in known for name in names):
            layouts = {name: known.get(name) or self._state.plan.dense(1) for name in names}
            scheduled = dict(zip(names, input_batch.num_scheduled_tokens.tolist(), strict=True))
            computed = input_batch.num_computed_tokens_np.tolist()
            step = step_of(layouts, computed, scheduled, names, self._shown)
        self._state.begin(step)
        found: dict[str, Any] = super().prepare_attn(
            input_batch, cudagraph_mode, block_tables, *args, for_capture=for_capture, **kwargs
        )
        return found
