"""Removal of dead states from a prefill between decoder layers.

A layer takes only the tokens whose K and V it needs. Where some of those are not needed afterwards,
their queries, output projections and MLP are left out, and the next layer does not take them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import local
from typing import Any

import torch
from torch import Tensor

from prune.errors import RefusedError
from prune.families import family_of_model_type
from prune.kernels import Impl, attend
from prune.layout.reach import Reach
from prune.layout.segments import Segments
from prune.runtime.attention import Enforcer
from prune.runtime.cache import cache_in, hold_of_first, hold_only
from prune.runtime.captured import Replay
from prune.runtime.eager import eager, eager_itself
from prune.runtime.launches import CountingEnforcer, Launches
from prune.runtime.rows import spread, take
from prune.runtime.schedule import Schedule, schedule

QUERY_SIDE = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""Modules of a decoder layer whose output for a token serves that token's state alone."""

_WRITERS = (("self_attn", "o_proj"), ("", "mlp"))
"""Those of them that write to the residual stream."""


class Prefill:
    """Runs one forward pass of a text model by a schedule; its `Enforcer` as well.

    The model's layers must be ready for it (`hooked`): they find the pass among their arguments.

    Attributes:
        schedule: of this pass.
        seen: tokens in the cache after it.
        impl: which attention kernel.
        first: the first layer that runs; the states of all tokens enter it.
        note: is told the layer and the states of the tokens that it takes.
    """

    def __init__(
        self,
        schedule: Schedule,
        seen: int,
        impl: Impl = "auto",
        first: int = 0,
        note: Callable[[int, Tensor], None] | None = None,
    ):
        self.schedule, self.seen, self.impl, self.first = schedule, seen, impl, first
        self.note = note
        self._filled: set[int] = set()
        self._rotary: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        step = self.schedule.steps[layer]
        return attend(query, key, value, step.layout, step.reach, scale, self.impl)[0]

    @eager
    def enter(
        self, layer: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A layer's arguments for the tokens that it needs."""
        step = self.schedule.steps[layer]
        arrive = step.columns if layer == self.first else step.arrive
        hidden = args[0] if arrive is None else take(args[0], arrive)
        if self.note is not None:
            self.note(layer, hidden)
        if (cache := cache_in(kwargs)) is not None:
            if hold_of_first(cache, layer, step.keep, self.seen):
                self._filled.add(layer)
        if step.columns is None:
            return args, kwargs
        cos, sin = kwargs["position_embeddings"]
        changed = {**kwargs, "position_embeddings": self._rotated(cos, sin, step.columns)}
        if isinstance(positions := kwargs.get("position_ids"), Tensor):
            changed["position_ids"] = take(positions, step.columns, -1)
        return (hidden, *args[1:]), changed

    @eager
    def leave(self, layer: int, kwargs: dict[str, Any], output: Any) -> Any:
        """Drop the keys that nothing to come may read; after the last layer, widen its output."""
        if layer not in self._filled and (cache := cache_in(kwargs)) is not None:
            hold_only(cache, layer, self.schedule.steps[layer].keep, self.seen)
        if layer == len(self.schedule.steps) - 1 and self.schedule.leave is not None:
            return spread(output, self.schedule.leave, self.schedule.computed.shape[1])
        return output

    def _rotated(self, cos: Tensor, sin: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Position embeddings of some tokens, taken once for all layers that need the same."""
        known = self._rotary.get(id(columns))
        if known is None or known[0] is not cos:
            known = self._rotary[id(columns)] = (
                cos,
                take(cos, columns, -2),
                take(sin, columns, -2),
            )
        return known[1:]


class _Narrowed(local):
    """Which tokens the layer that runs in this thread computes."""

    rows: Tensor | None = None


_now = _Narrowed()


class _Forward:
    """In place of a module's `forward`, which it calls.

    Hooks would cost a decode step several times as much. An object, unlike a closure, is copied
    with its module.
    """

    def __init__(self, module: Any):
        self.module, self.own = module, "forward" in vars(module)
        self.forward = module.forward
        module.forward = self

    def restore(self) -> None:
        """Give the module its `forward` back."""
        if self.own:
            self.module.forward = self.forward
        else:
            del self.module.forward


class _LayerForward(_Forward):
    """A decoder layer's: takes the tokens that the pass needs, and drops keys afterwards."""

    def __init__(self, module: Any, index: int):
        super().__init__(module)
        self.index = index

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = _pass_in(kwargs, self.index)
        if found is None:
            return self.forward(*args, **kwargs)
        return self._narrowed(found, args, kwargs)

    # What lies in between is compiled under torch.compile; the pass reads layouts on the host.
    @eager_itself
    def _narrowed(self, found: Prefill, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = found.enter(self.index, args, kwargs)
        _now.rows = found.schedule.steps[self.index].compute
        try:
            output = self.forward(*args, **kwargs)
        finally:
            _now.rows = None
        return found.leave(self.index, kwargs, output)


class _RowsForward(_Forward):
    """That of a module on a layer's query side: runs on the tokens that the layer computes."""

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        rows = _now.rows
        if rows is None:
            return self.forward(x, *args, **kwargs)
        return self._narrowed(rows, x, args, kwargs)

    @eager_itself
    def _narrowed(self, rows: Tensor, x: Tensor, args: tuple[Any, ...], kwargs: Any) -> Any:
        return _spread(self.forward(_take(x, rows), *args, **kwargs), rows, x.shape[1])


_take, _spread = eager(take), eager(spread)


def hooked(text_model: Any) -> ExitStack:
    """Ready a text model's layers for `Prefill` passes; closing the returned stack undoes it.

    The layers hold no state of a pass, so several threads may run passes of their own.
    """
    stack = ExitStack()
    for index, layer in enumerate(text_model.layers):
        stack.callback(_LayerForward(layer, index).restore)
        for module in query_side(layer):
            stack.callback(_RowsForward(module).restore)
    return stack


def _pass_in(kwargs: dict[str, Any], layer: int) -> Prefill | None:
    """The pass that a layer's arguments belong to; None of a decode step or a dense pass."""
    enforcer = kwargs.get("prune")
    enforcer = getattr(enforcer, "enforcer", enforcer)
    return enforcer if isinstance(enforcer, Prefill) and layer >= enforcer.first else None


def query_side(layer: Any) -> list[Any]:
    """The modules of `QUERY_SIDE` that a layer has."""
    found = []
    for name in QUERY_SIDE:
        parent, _, child = name.rpartition(".")
        module = getattr(layer.get_submodule(parent), child, None)
        if module is not None:
            found.append(module)
    return found


def refuse_frozen(text_model: Any) -> None:
    """Raise `RefusedError` if a layer updates states by other modules than those left out."""
    for layer in text_model.layers:
        if any(not hasattr(layer.get_submodule(parent), child) for parent, child in _WRITERS):
            raise RefusedError(
                "the plan freezes states, which is not possible in the layers of "
                f"{type(text_model).__name__}: give a plan without `frozen`"
            )


def narrow(layer: Any, rows: Tensor) -> list[Any]:
    """Hook a decoder layer so that it computes only the states of some tokens.

    It makes keys and values of all; the states of the others are not to be read.

    Args:
        layer: of the text model.
        rows: int64 `[B, n]`, places in the layer's input.

    Returns:
        Handles of the hooks.
    """
    return [handle for module in query_side(layer) for handle in _narrow(module, rows)]


def _narrow(module: Any, rows: Tensor) -> list[Any]:
    """Hook a module so that it runs on `rows` alone; its output is 0 for the other tokens."""
    size: list[int] = []

    def narrow(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        size[:] = [args[0].shape[1]]
        return (take(args[0], rows), *args[1:])

    def widen(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return spread(output, rows, size[0])

    return [
        module.register_forward_pre_hook(torch.compiler.disable(narrow)),
        module.register_forward_hook(torch.compiler.disable(widen)),
    ]


@contextmanager
def skipping(
    text_model: Any, reach: Reach, segments: Segments, full_layers: int = 0, impl: Impl = "auto"
) -> Iterator[Enforcer]:
    """Skip dead states of `text_model` inside the block, in forward passes over whole prompts.

    The attention must be inside `prune.runtime.attention.seam`. Hidden states of tokens that are
    not needed come out as 0; that of the last token is right.

    Args:
        text_model: the module that owns the decoder layers.
        reach: int32 `[L, G, R, R]`.
        segments: layout of the prompts to come, `[B, S]`.
        full_layers: `Family.full_layers`.
        impl: which attention kernel.

    Yields:
        The enforcer to pass on: `text_model(..., prune=enforcer)`.
    """
    found = schedule(reach, segments, "single_turn", full_layers=full_layers)
    with hooked(text_model):
        yield Prefill(found, segments.shape[1], impl)


def pruned_states(replay: Replay, reach: Reach, count: int = 1) -> Tensor:
    """`Replay.last_states` under a reach table, without dead states; `[B, count, d]`.

    The last `count` tokens are `last` or `answer`, whose states are never dead.

    Raises:
        RefusedError: the model is not inside `prune.runtime.attention.seam`, so it ran dense.
    """
    config = replay.model.config
    full_layers = family_of_model_type(config.model_type).full_layers(config)
    with skipping(replay.text_model, reach, replay.segments, full_layers) as enforcer:
        counted = CountingEnforcer(enforcer, Launches([0] * len(reach)))
        states = replay.last_states(counted, count)
    counted.check()
    return states
