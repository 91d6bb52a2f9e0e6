"""Keys and values without queries, for the tokens of which a layer needs no more."""

from typing import Any

from torch import Tensor
from torch.nn.functional import linear
from vllm.model_executor.layers.linear import UnquantizedLinearMethod

from prune.serve.vllm.forwards import Forward, step_that_runs
from prune.serve.vllm.state import State


class KeysForward(Forward):
    """The joint product of queries, keys and values: queries for those rows alone that attend.

    Others read nothing in the layer (`Needs.reach`), so zeros stand in place of their queries.

    Args:
        attention: a decoder layer's, which has the product as `qkv_proj`.
        state: of its model.
        layer: which.
    """

    def __init__(self, attention: Any, state: State, layer: int):
        super().__init__(attention.qkv_proj, state)
        self._product, self._queries, self._layer = attention.qkv_proj, attention.q_size, layer
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def take_weights(self) -> None:
        """Note the rows of keys and values, before vLLM packs the weights for its own kernel.

        Of quantised weights there are none to note: there the product stays joint.
        """
        product = self._product
        if isinstance(product.quant_method, UnquantizedLinearMethod):
            self._weight = product.weight.detach()[self._queries :].clone()
            if product.bias is not None:
                self._bias = product.bias.detach()[self._queries :].clone()

    def __call__(self, hidden: Tensor) -> Any:
        """See vLLM's `QKVParallelLinear`."""
        step = step_that_runs(self._state)
        places = None if step is None else step.leaving(self._layer)
        if places is None or self._weight is None:
            return self._forward(hidden)
        keys = linear(hidden, self._weight, self._bias)
        found = keys.new_zeros(len(hidden), self._queries + keys.shape[1])
        found[:, self._queries :] = keys
        if len(places):
            found[places] = self._forward(hidden[places])[0]
        self._state.without_queries += len(hidden) - len(places)
        return found, None


def take_weights(text_model: Any) -> None:
    """Have every layer of a text model note what it needs, once its weights are loaded."""
    for layer in text_model.layers:
        forward = layer.self_attn.qkv_proj.forward
        if isinstance(forward, KeysForward):
            forward.take_weights()
