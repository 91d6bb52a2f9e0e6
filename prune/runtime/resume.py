"""Runs of one plan after another on the same prompts, which share their common first layers.

A search changes a plan in one place at a time. The states that enter that layer are those of the
plan before, so the next run resumes from them.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prune.families import family_of_model_type
from prune.layout.reach import Reach
from prune.plan.liveness import State, order_of, states
from prune.runtime.captured import Replay
from prune.runtime.launches import CountingEnforcer, Launches
from prune.runtime.prefill import Prefill, hooked
from prune.runtime.rows import spread
from prune.runtime.schedule import Schedule, schedule

PASSES = 3
"""Passes that are kept: of the plan so far, of the one tried, and of the one tried next."""


def layers_to_keep(num_layers: int, layer_bytes: int, most_bytes: int) -> list[int]:
    """The layers whose entering states fit into memory, evenly spread; layer 0 needs none.

    Args:
        num_layers: L.
        layer_bytes: of the states that enter one layer, of all prompts.
        most_bytes: limit for all passes together.
    """
    count = min(num_layers - 1, most_bytes // (PASSES * layer_bytes))
    return sorted({round(num_layers * (i + 1) / (count + 1)) for i in range(count)} - {num_layers})


@dataclass(frozen=True)
class _KeptRun:
    """The table and states of a finished run.

    Attributes:
        reach: its table, `[L, G, R, R]`.
        needed: roles whose tokens entered each layer, bool `[L, R]`.
        entering: states by layer, `[B, S, d]`, 0 where a token was not needed.
    """

    reach: Reach
    needed: NDArray[np.bool_]
    entering: dict[int, Tensor]

    def shared_with(self, reach: Reach, needed: NDArray[np.bool_]) -> int:
        """The last kept layer at which a run of `reach` can begin, or 0."""
        if reach.shape != self.reach.shape:
            return 0
        differ = [layer for layer in range(len(reach)) if (reach[layer] != self.reach[layer]).any()]
        same = min(differ, default=len(reach) - 1)
        usable = [
            layer
            for layer in self.entering
            if layer <= same and (needed[layer] <= self.needed[layer]).all()
        ]
        return max(usable, default=0)


class ResumableRun:
    """A batch of prompts that is run under one reach table after another.

    The model must be inside `prune.runtime.attention.seam` when it runs.

    Args:
        replay: the prompts.
        layers: whose entering states are kept (`layers_to_keep`).
    """

    def __init__(self, replay: Replay, layers: Sequence[int]):
        self.replay, self.layers = replay, layers
        config = replay.model.config
        self._full_layers = family_of_model_type(config.model_type).full_layers(config)
        self._order = order_of(replay.segments)
        self._passes: list[_KeptRun] = []

    def states(self, reach: Reach, count: int = 1) -> Tensor:
        """Final states of the last `count` tokens, `[B, count, d]`, without dead states.

        They are those of `prune.runtime.prefill.pruned_states`.

        Raises:
            RefusedError: the model is not inside `prune.runtime.attention.seam`, so it ran dense.
        """
        needed = states(reach, order=self._order) >= State.KV_ONLY
        needed[: self._full_layers] = True
        # Of passes that share equally many layers, the one that was used last.
        shared = [known.shared_with(reach, needed) for known in self._passes]
        first = max(shared, default=0)
        entering: dict[int, Tensor] = {}
        if first:
            base = self._passes.pop(shared.index(first))
            self._passes.insert(0, base)
            entering = {layer: x for layer, x in base.entering.items() if layer <= first}
        found = schedule(reach, self.replay.segments, "single_turn", full_layers=self._full_layers)
        final = self._run(found, first, entering, count)
        self._passes = [_KeptRun(reach.copy(), needed, entering), *self._passes][:PASSES]
        return final

    def _run(self, found: Schedule, first: int, entering: dict[int, Tensor], count: int) -> Tensor:
        """Run layers `first` and later, and note what enters those that are kept."""
        text_model, length = self.replay.text_model, self.replay.segments.shape[1]

        def note(layer: int, states: Tensor) -> None:
            if layer > first and layer in self.layers:
                columns = found.steps[layer].columns
                entering[layer] = states if columns is None else spread(states, columns, length)

        prefill = Prefill(found, length, first=first, note=note)
        counted = CountingEnforcer(prefill, Launches([0] * len(found.steps)))
        with ExitStack() as stack:
            if first:
                stack.enter_context(_begun(text_model.layers, first, entering[first]))
            stack.enter_context(hooked(text_model))
            final = self.replay.last_states(counted, count)
        counted.check(first)
        return final


@contextmanager
def _begun(layers: Any, first: int, entering: Tensor) -> Iterator[None]:
    """Let the layers before `first` do nothing, and `entering` enter that one."""

    def enter(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (entering, *args[1:])

    own = [layer.__dict__.get("forward") for layer in layers[:first]]
    handle = layers[first].register_forward_pre_hook(enter)
    try:
        for layer in layers[:first]:
            layer.forward = _pass_on
        yield
    finally:
        handle.remove()
        for layer, forward in zip(layers[:first], own, strict=True):
            del layer.forward
            # accelerate puts a forward of its own on the layers of a model that is spread.
            if forward is not None:
                layer.forward = forward


def _pass_on(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden_states
