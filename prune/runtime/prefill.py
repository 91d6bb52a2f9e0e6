"""Dead states leave a prefill between its decoder layers, by module hooks alone.

A layer takes only the tokens whose K and V it needs. Where some of those are not needed afterwards,
their queries, output projections and MLP are left out, and the next layer does not take them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from prune.families import family_of_model_type
from prune.kernels import segment_attention
from prune.layout.pathways import Reach
from prune.layout.segments import Segments
from prune.runtime.attention import Enforcer
from prune.runtime.cache import hold_only
from prune.runtime.captured import Replay
from prune.runtime.launches import CountingEnforcer, Launches
from prune.runtime.rows import spread, take
from prune.runtime.schedule import Schedule, schedule

QUERY_SIDE = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""Modules of a decoder layer whose output for a token serves that token's state alone."""

Undo = Callable[[], None]


class Prefill:
    """Runs one forward pass of a text model by a schedule; its `Enforcer` as well.

    Attributes:
        schedule: of this pass.
        seen: tokens in the cache after it.
        impl: which attention kernel.
    """

    def __init__(self, schedule: Schedule, seen: int, impl: str = "auto"):
        self.schedule, self.seen, self.impl = schedule, seen, impl
        self._rotary: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        step = self.schedule.steps[layer]
        out = segment_attention(
            query, key, value, step.layout, None, step.reach, scale, impl=self.impl
        )
        assert isinstance(out, Tensor)
        return out

    def hook(self, text_model: Any, first: int = 0) -> ExitStack:
        """Hook the text model's layers; closing the returned stack removes the hooks.

        Args:
            text_model: the module that owns them.
            first: the first layer that runs; the states of all tokens enter it.
        """
        stack = ExitStack()
        for index, (layer, step) in enumerate(
            zip(text_model.layers, self.schedule.steps, strict=True)
        ):
            if index < first:
                continue
            handles = [layer.register_forward_hook(self._evict(index), with_kwargs=True)]
            if step.columns is not None:
                arrive = step.columns if index == first else step.arrive
                handles.append(
                    layer.register_forward_pre_hook(
                        self._enter(step.columns, arrive), with_kwargs=True
                    )
                )
            if step.compute is not None:
                handles += narrow(layer, step.compute)
            for handle in handles:
                stack.callback(handle.remove)
        leave = self.schedule.leave
        if leave is not None:

            def widen(module: Any, args: Any, output: Tensor) -> Tensor:
                return spread(output, leave, self.schedule.computed.shape[1])

            stack.callback(text_model.layers[-1].register_forward_hook(widen).remove)
        return stack

    def _enter(self, columns: Tensor, arrive: Tensor | None) -> Any:
        def enter(
            module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            hidden = args[0] if arrive is None else take(args[0], arrive)
            cos, sin = kwargs["position_embeddings"]
            changed = {**kwargs, "position_embeddings": self._rotated(cos, sin, columns)}
            if isinstance(positions := kwargs.get("position_ids"), Tensor):
                changed["position_ids"] = take(positions, columns, -1)
            return (hidden, *args[1:]), changed

        return torch.compiler.disable(enter)

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

    def _evict(self, index: int) -> Any:
        step = self.schedule.steps[index]

        def evict(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if (cache := kwargs.get("past_key_values")) is not None:
                hold_only(cache, index, step.keep, self.seen)

        return torch.compiler.disable(evict)


def narrow(layer: Any, rows: Tensor) -> list[Any]:
    """Hook a decoder layer so that it computes the states of some tokens alone.

    It makes keys and values of all; the states of the others are not to be read.

    Args:
        layer: of the text model.
        rows: int64 `[B, n]`, places in the layer's input.

    Returns:
        Handles of the hooks.
    """
    return [handle for name in QUERY_SIDE for handle in _narrow(layer, name, rows)]


def _narrow(layer: Any, name: str, rows: Tensor) -> list[Any]:
    """Hook a module so that it runs on `rows` alone; its output is 0 for the other tokens."""
    parent, _, child = name.rpartition(".")
    module = getattr(layer.get_submodule(parent), child, None)
    if module is None:
        return []
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
    text_model: Any, reach: Reach, segments: Segments, full_layers: int = 0, impl: str = "auto"
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
    plan = schedule(reach, segments, "single_turn", full_layers=full_layers)
    prefill = Prefill(plan, segments.shape[1], impl)
    with prefill.hook(text_model):
        yield prefill


def pruned_logits(replay: Replay, reach: Reach) -> Tensor:
    """`Replay.last_logits` under a reach table, without dead states; float32 `[B, V]`.

    Raises:
        NumericError: a logit is NaN or infinite.
        RefusedError: the model is not inside `prune.runtime.attention.seam`, so it ran dense.
    """
    config = replay.model.config
    full_layers = family_of_model_type(config.model_type).full_layers(config)
    with skipping(replay.text_model, reach, replay.segments, full_layers) as enforcer:
        counted = CountingEnforcer(enforcer, Launches([0] * len(reach)))
        logits = replay.last_logits(counted)
    counted.check()
    return logits
