"""The seam to transformers: a named attention function that delegates to an `Enforcer`.

An enforcer reaches the function as the keyword argument `prune` of the text model's forward, which
transformers hands down to every attention layer.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local
from typing import Any, Protocol

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prune.errors import RefusedError
from prune.runtime.eager import eager

ATTENTION_NAME = "prune"


class Enforcer(Protocol):
    """Decides which keys a layer's queries read."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Attention of one layer.

        Args:
            layer: 0-based index of the decoder layer.
            query: `[B, Hq, Sq, D]`, rotated.
            key, value: `[B, Hkv, Sk, D]`, with the cache's earlier tokens in front.
            scale: factor of the scores before the softmax.

        Returns:
            `[B, Hq, Sq, D]`.
        """
        ...


@dataclass(frozen=True)
class Dense:
    """In an `Enforcer`'s place: the attention that the model has without a plan.

    Attributes:
        implementation: its name in transformers.
    """

    implementation: str


class _Thread(local):
    dense: Dense | None = None


_thread = _Thread()


def in_this_thread(dense: Dense | None) -> None:
    """Say whether the forward pass that begins in this thread is dense, so that it needs a mask."""
    _thread.dense = dense


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    enforcer: Enforcer | Dense | None = kwargs.pop("prune", None)
    if enforcer is None:
        raise RefusedError(
            "this model's attention is 'prune' but no plan is active: load it with prune.load, "
            "or pass attn_implementation='sdpa' to from_pretrained for the dense model"
        )
    if isinstance(enforcer, Dense):
        own = sys.modules[type(module).__module__]
        plain: Any = getattr(own, "eager_attention_forward", None)
        run = ALL_ATTENTION_FUNCTIONS.get_interface(enforcer.implementation, plain)
        out: tuple[Tensor, Tensor | None] = run(
            module,
            query,
            key,
            value,
            attention_mask,
            scaling=scaling,
            dropout=dropout,
            **kwargs,
        )
        return out
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    read = enforcer.attend(module.layer_idx, query, key, value, scale)
    return read.transpose(1, 2).contiguous(), None


def _mask(*args: Any, **kwargs: Any) -> Any:
    """A mask for dense passes alone: under a plan padding is known from the roles."""
    if _thread.dense is None:
        return None
    return ALL_MASK_ATTENTION_FUNCTIONS[_thread.dense.implementation](*args, **kwargs)


AttentionInterface.register(ATTENTION_NAME, eager(_attention))
AttentionMaskInterface.register(ATTENTION_NAME, _mask)


def route(model: Any) -> tuple[Dense, Callable[[], None]]:
    """Route the text model's attention through `_attention`.

    The vision tower stays as it is.

    Returns:
        The attention that it had, and what gives it back.
    """
    before = model.config.text_config._attn_implementation
    model.set_attn_implementation({"text_config": ATTENTION_NAME})
    return Dense(before), lambda: model.set_attn_implementation({"text_config": before})


@contextmanager
def seam(model: Any) -> Iterator[None]:
    """`route` for the length of a block; inside another such block it does nothing more."""
    if model.config.text_config._attn_implementation == ATTENTION_NAME:
        yield
        return
    _, restore = route(model)
    try:
        yield
    finally:
        restore()
