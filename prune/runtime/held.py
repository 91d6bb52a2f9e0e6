"""Frozen states in forward passes that compute every state: each layer's output is put back.

The plain way to enforce them; `prune.runtime.prefill` does not compute what is put back here.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prune.runtime.attention import Enforcer
from prune.runtime.enforce import PlanEnforcer


def hold_frozen(text_model: Any) -> ExitStack:
    """Hook a text model's layers so that passes under a `PlanEnforcer` hold its frozen states.

    Closing the returned stack removes the hooks.
    """
    stack = ExitStack()
    for index, layer in enumerate(text_model.layers):
        hook = torch.compiler.disable(partial(_hold, index))
        handle = layer.register_forward_hook(hook, with_kwargs=True)
        stack.callback(handle.remove)
    return stack


def _hold(
    layer: int, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    enforcer = kwargs.get("prune")
    enforcer = getattr(enforcer, "enforcer", enforcer)
    if not isinstance(enforcer, PlanEnforcer):
        return output
    before: Tensor = args[0] if args else kwargs["hidden_states"]
    if isinstance(output, tuple):
        return (enforcer.hold(layer, before, output[0]), *output[1:])
    return enforcer.hold(layer, before, output)


@contextmanager
def holding(text_model: Any, enforcer: Enforcer) -> Iterator[None]:
    """Hold the frozen states of passes under an enforcer inside the block."""
    if not isinstance(enforcer, PlanEnforcer) or not enforcer.freezes or enforcer.held:
        yield
        return
    with hold_frozen(text_model):
        enforcer.held = True
        try:
            yield
        finally:
            enforcer.held = False
