"""A plan on the decoder layers of a vLLM model: their attention, their cache, and dead states."""

from typing import Any

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.attention import Attention

from prune.errors import RefusedError
from prune.serve.vllm.attention import PrunedBackend, PrunedImpl
from prune.serve.vllm.blocks import PrunedSpec
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


def _step(state: State) -> Step | None:
    """The step that runs; None in vLLM's own dummy runs, which have no metadata."""
    return None if get_forward_context().attn_metadata is None else state.step


class _Forward:
    """In place of a module's `forward`, which it calls."""

    def __init__(self, module: Any, state: State):
        self._forward, self._state = module.forward, state
        module.forward = self


class _LayerForward(_Forward):
    """A layer's: drops the rows that it does not take, and does nothing where it takes none."""

    def __init__(self, module: Any, state: State, layer: int):
        super().__init__(module, state)
        self._layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = _step(self._state)
        if step is None:
            return self._forward(*args, **kwargs)
        given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
        taken = step.taken(self._layer)
        before = step.taken(self._layer - 1) if self._layer else None
        if before is None:
            step.positions = given["positions"]
            step.width = given["hidden_states"].shape[0]
        self._state.computed += len(taken.rows)
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


class _NormForward(_Forward):
    """The final norm's: gives every row of the step its place again.

    Rows that were not computed are zero, and NaN where their logits are asked for, so that they
    cannot be mistaken for values.
    """

    def __init__(self, module: Any, state: State, last: int):
        super().__init__(module, state)
        self._last = last

    def __call__(self, hidden: Tensor, residual: Tensor | None = None) -> Any:
        step = _step(self._state)
        if step is None:
            return self._forward(hidden, residual)
        rows = step.taken(self._last).rows
        if len(rows):
            normed = self._forward(hidden, residual)
            hidden = normed if residual is None else normed[0]
        if len(rows) < step.width:
            wide = hidden.new_zeros(step.width, hidden.shape[1])
            hidden = wide.index_copy_(0, rows, hidden)
            hidden[step.untaken(self._last)] = torch.nan
        return hidden if residual is None else (hidden, residual)
