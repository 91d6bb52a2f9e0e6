"""A plan on the decoder layers of a vLLM model: their attention, their cache, and dead states."""

from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention import Attention

from prune.errors import RefusedError
from prune.serve.vllm.attention import PrunedBackend, PrunedImpl
from prune.serve.vllm.blocks import PrunedSpec
from prune.serve.vllm.forwards import Forward, step_that_runs
from prune.serve.vllm.keys import KeysForward
from prune.serve.vllm.state import STATE, State
from prune.serve.vllm.step import Step, Taken

_NAMES = ("positions", "hidden_states", "residual")
"""Arguments of a decoder layer, each with a row for every token; positions have it last."""


def install(text_model: Any, state: State) -> None:
    """Put a plan on a text model that vLLM has built.

    Args:
        text_model: has `layers` and a final `norm`.
        state: of the plan.

    Raises:
        RefusedError: the plan is for another number of layers.
    """
    rules = state.plan.rules
    if len(text_model.layers) != len(rules.reach):
        raise RefusedError(
            f"the plan is for {len(rules.reach)} layers, the model has {len(text_model.layers)}"
        )
    # Which rows a layer takes depends on the data, which a compiled graph must not.
    text_model.do_not_compile = True
    for index, layer in enumerate(text_model.layers):
        _attend(layer, index, state)
        _LayerForward(layer, state, index)
        if rules.keys_alone[index]:
            KeysForward(layer.self_attn, state, index)
        _OutputForward(layer.self_attn.o_proj, state, index)
        _MiddleNormForward(layer.post_attention_layernorm, state, index)
        _MlpForward(layer.mlp, state)
    _NormForward(text_model.norm, state, len(rules.reach) - 1)


def _attend(layer: nn.Module, index: int, state: State) -> None:
    """Give a layer the backend of pruned models, and its place in the groups of the cache."""
    (attention,) = (module for module in layer.modules() if isinstance(module, Attention))
    impl = attention.impl
    attention.attn_backend = PrunedBackend
    # Its arguments are those of the class that it was built as.
    impl.__class__ = PrunedImpl
    impl.layer_idx = index
    setattr(impl, STATE, state)
    layers = state.plan.rules.group_of(index)

    def spec(config: VllmConfig) -> PrunedSpec:
        return PrunedSpec(
            block_size=config.cache_config.block_size,
            num_kv_heads=attention.num_kv_heads,
            head_size=attention.head_size,
            head_size_v=attention.head_size_v,
            dtype=attention.kv_cache_torch_dtype,
            layers=layers,
        )

    attention.get_kv_cache_spec = spec


class _LayerForward(Forward):
    """A layer's: drops the rows that it does not take, and does nothing where it takes none."""

    def __init__(self, module: Any, state: State, layer: int):
        super().__init__(module, state)
        self._layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = step_that_runs(self._state)
        if step is None:
            return self._forward(*args, **kwargs)
        given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        taken = step.taken(self._layer)
        before = step.computed(self._layer - 1) if self._layer else None
        if before is None:
            step.positions = given["positions"]
            step.width = given["hidden_states"].shape[0]
        computed = len(step.computed(self._layer).rows)
        self._state.computed += computed
        self._state.keys_only += len(taken.rows) - computed
        self._state.dense += step.size
        if len(taken.rows) < step.width:
            self._narrow(given, step, taken, before)
        if not len(taken.rows):
            hidden = given["hidden_states"]
            return hidden, hidden
        return self._forward(**given)

    def _narrow(
        self, given: dict[str, Any], step: Step, taken: Taken, before: Taken | None
    ) -> None:
        """Leave only the layer's rows in its arguments."""
        if taken is not before:
            places = taken.rows
            if before is not None:
                places = torch.searchsorted(before.rows, taken.rows)
            for name in _NAMES[1:]:
                if given.get(name) is not None:
                    given[name] = given[name].index_select(0, places)
        given["positions"] = step.positions.index_select(-1, taken.rows)


class _OutputForward(Forward):
    """The projection behind a layer's attention: drops the rows of which keys were enough."""

    def __init__(self, module: Any, state: State, layer: int):
        super().__init__(module, state)
        self._layer, self._width = layer, module.output_size

    def __call__(self, attended: Tensor) -> Any:
        step = step_that_runs(self._state)
        places = None if step is None else step.leaving(self._layer)
        if places is None:
            return self._forward(attended)
        if not len(places):
            return attended.new_zeros(0, self._width), None
        return self._forward(attended.index_select(0, places))


class _MiddleNormForward(Forward):
    """The norm between attention and MLP: the residual follows the rows of the projection."""

    def __init__(self, module: Any, state: State, layer: int):
        super().__init__(module, state)
        self._layer = layer

    def __call__(self, hidden: Tensor, residual: Tensor) -> Any:
        step = step_that_runs(self._state)
        places = None if step is None else step.leaving(self._layer)
        if places is not None:
            residual = residual.index_select(0, places)
        return self._forward(hidden, residual) if len(hidden) else (hidden, residual)


class _MlpForward(Forward):
    """A layer's MLP: nothing to do without rows, of which not every kernel takes none."""

    def __call__(self, hidden: Tensor) -> Any:
        return self._forward(hidden) if len(hidden) else hidden


class _NormForward(Forward):
    """The final norm's: gives every row of the step its place again.

    Rows that were not computed are zero, and NaN where their logits are asked for, so that they
    cannot be mistaken for values.
    """

    def __init__(self, module: Any, state: State, last: int):
        super().__init__(module, state)
        self._last = last

    def __call__(self, hidden: Tensor, residual: Tensor | None = None) -> Any:
        step = step_that_runs(self._state)
        if step is None:
            return self._forward(hidden, residual)
        rows = step.computed(self._last).rows
        if len(rows):
            normed = self._forward(hidden, residual)
            hidden = normed if residual is None else normed[0]
        if len(rows) < step.width:
            wide = hidden.new_zeros(step.width, hidden.shape[1])
            hidden = wide.index_copy_(0, rows, hidden)
            hidden[step.hidden(self._last)] = torch.nan
        return hidden if residual is None else (hidden, residual)
