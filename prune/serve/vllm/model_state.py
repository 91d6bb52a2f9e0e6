"""A plan in the second generation of vLLM's model runners, by the hook that it has for models.

GPUs have this runner by default. `config.py` refuses it until it has run there.
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
        **kwargs: Any,
    ) -> dict[str, Any]:
        """See `ModelState`.

        Of vLLM's dummy batches, which it captures graphs of, nobody knows a prompt: they run like
        dense requests, in the buffers that generated tokens have.
        """
        known = self._state.layouts
        layouts = {
            name: known[name] if name in known else self._state.plan.dense(1)
            for name in input_batch.req_ids
        }
        scheduled = input_batch.num_scheduled_tokens.tolist()
        self._state.begin(
            step_of(
                layouts,
                input_batch.num_computed_tokens_np.tolist(),
                dict(zip(input_batch.req_ids, scheduled, strict=True)),
                input_batch.req_ids,
                self._shown,
            )
        )
        found: dict[str, Any] = super().prepare_attn(
            input_batch, cudagraph_mode, block_tables, *args, **kwargs
        )
        return found
