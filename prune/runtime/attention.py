"""The only seam to transformers: a named attention function that asks an `Enforcer` what to read.

An enforcer reaches the function as the keyword argument `prune` of the text model's forward, which
transformers hands down to every attention layer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from prune.errors import RefusedError

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


@torch.compiler.disable
def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    enforcer: Enforcer | None = kwargs.get("prune")
    if enforcer is None:
        raise RefusedError(
            "this model's attention is 'prune' but no plan is in force: load it with prune.load, "
            "or pass attn_implementation='sdpa' to from_pretrained for the dense model"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = enforcer.attend(module.layer_idx, query, key, value, scale)
    return out.transpose(1, 2).contiguous(), None


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Padding is known from the roles, so transformers need not build an S x S mask."""


AttentionInterface.register(ATTENTION_NAME, _attention)
AttentionMaskInterface.register(ATTENTION_NAME, _no_mask)  # type: ignore[arg-type]


def route(model: Any) -> Callable[[], None]:
    """Route the text model's attention through `_attention`, and return what undoes it.

    The vision tower stays as it is.
    """
    before = model.config.text_config._attn_implementation
    model.set_attn_implementation({"text_config": ATTENTION_NAME})
    return lambda: model.set_attn_implementation({"text_config": before})


@contextmanager
def seam(model: Any) -> Iterator[None]:
    """`route` for the length of a block."""
    restore = route(model)
    try:
        yield
    finally:
        restore()
