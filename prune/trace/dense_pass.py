"""`DensePass`: a prompt that was run once, with the states that changed runs start from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from prune.layout.knockout_tables import knockout_tables, merged
from prune.layout.reach import Reach
from prune.runtime.captured import Replay, next_logits
from prune.runtime.enforce import PlanEnforcer


@dataclass
class DensePass:
    """One recorded dense pass of a prompt; each list has one item per layer.

    Attributes:
        inputs: hidden states that enter the layer, `[1, S, d]`.
        added: what the text model adds between this layer and the next (deepstack features),
            `[1, S, d]` or `None`.
        keys, values: `[1, Hkv, S, D]`, rotated.
        kwargs: the layer's keyword arguments.
        count: how many of the last tokens are read.
        under: reach `[L, 1, R, R]` of the plan that it ran under; dense if None.
        states: their final states, `[count, d]`.
        logits: of the next token, float32 `[V]`.
    """

    replay: Replay
    count: int = 1
    under: Reach | None = None
    inputs: list[Tensor] = field(default_factory=list)
    added: list[Tensor | None] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    kwargs: list[dict[str, Any]] = field(default_factory=list)
    states: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def inherit(self) -> bool:
        """Whether generated tokens lose what `last` loses: where a whole reply is read."""
        return self.count > 1

    def row(self, layer: int) -> Reach | None:
        """The plan's reach `[R, R]` in a layer."""
        return None if self.under is None else self.under[layer, 0]


@torch.no_grad()
def record_dense(replay: Replay, count: int = 1, under: Reach | None = None) -> DensePass:
    """Run a prompt once, densely, and record the states that knockouts start from.

    Args:
        replay: one prompt.
        count: how many of its last tokens are read: 1, or those that predict a reply.
        under: reach `[L, 1, R, R]` of a plan that it runs under instead of densely.
    """
    dense, outputs = DensePass(replay, count, under), []
    layers = replay.text_model.layers

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        dense.inputs.append(args[0] if args else kwargs["hidden_states"])
        dense.kwargs.append({k: v for k, v in kwargs.items() if k != "hidden_states"})

    def after(module: Any, args: tuple[Any, ...], output: Any) -> None:
        outputs.append(hidden_of(output))

    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    cache = DynamicCache()
    try:
        dense.states = replay.last_states(whole(replay, under), count, cache=cache)[0]
    finally:
        for handle in handles:
            handle.remove()
    dense.logits = next_logits(replay.model, dense.states[-1])
    for output, following in zip(outputs, dense.inputs[1:], strict=False):
        dense.added.append(None if output is following else following - output)
    dense.added.append(None)
    kept: list[Any] = cache.layers
    dense.keys, dense.values = [c.keys for c in kept], [c.values for c in kept]
    return dense


def whole(replay: Replay, under: Reach | None = None) -> PlanEnforcer:
    """The enforcer of every edge of one prompt, or of those of a plan `[L, 1, R, R]`."""
    rows = [None] * len(replay.text_model.layers) if under is None else [row[0] for row in under]
    tables = np.stack([knockout_tables((), under=row)[0] for row in rows])
    return PlanEnforcer(*merged(tables, replay.segments))


def hidden_of(output: Any) -> Tensor:
    """The hidden states that a decoder layer returns, alone or first of a tuple."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
