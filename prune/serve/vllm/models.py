"""vLLM's models of the supported families, each with the plan of its folder put on it."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from torch import Tensor

from prune.serve.vllm import ARCHITECTURES
from prune.serve.vllm.keys import take_weights
from prune.serve.vllm.layers import install
from prune.serve.vllm.layout import served_plan
from prune.serve.vllm.mended import MENDED
from prune.serve.vllm.runner import wrap_runner
from prune.serve.vllm.state import STATE, State


def _pruned(name: str) -> Any:
    """The class of an architecture under a plan."""
    module, stock_name = ARCHITECTURES[name]
    stock = getattr(import_module(f"vllm.model_executor.models.{module}"), stock_name)

    class Pruned(*MENDED.get(name, ()), stock):  # type: ignore[misc, valid-type]
        def __init__(self, *, vllm_config: Any, prefix: str = "", **more: Any) -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix, **more)
            state = State(served_plan(vllm_config))
            setattr(self, STATE, state)
            install(self.get_language_model().model, state)
            wrap_runner()

        def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
            found: set[str] = super().load_weights(weights)
            take_weights(self.get_language_model().model)
            return found

        def get_model_state_cls(self) -> type:
            # Only the runner that asks for it needs what this imports.
            from prune.serve.vllm.model_state import PrunedModelState

            return PrunedModelState

    Pruned.__name__ = Pruned.__qualname__ = name
    return Pruned


def __getattr__(name: str) -> Any:
    # Made when vLLM asks for one, so that the others' modules are not imported.
    if name not in ARCHITECTURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = _pruned(name)
    return found
