"""Refusals: the arguments that a model without dead states cannot serve."""

from typing import Any

from prune.errors import RefusedError

_WAY_OUT = 'or use prune.apply(..., skip="none")'

_FLAGS = {
    "output_hidden_states": "the layers compute different tokens: hidden states have no one shape",
    "output_attentions": "attention weights are never formed",
}


def refuse_continuous_batching(*args: Any, **kwargs: Any) -> None:
    """In place of a model's `init_continuous_batching`.

    Raises:
        RefusedError: always; its paged cache holds the same keys in every layer.
    """
    raise RefusedError(
        "continuous batching: its paged cache has no room for keys that differ between layers: "
        "call generate, which takes batches of prompts of unequal length"
    )


def check_forward(model: Any, kwargs: dict[str, Any]) -> None:
    """Refuse arguments of `forward` whose results would not mean what they say.

    Raises:
        RefusedError: labels, hidden states, attention weights or plain tuples are asked for.
    """
    if kwargs.get("labels") is not None:
        raise RefusedError(
            "labels: a pruned model does not compute the logits of every prompt token: "
            f"leave labels out, {_WAY_OUT}"
        )
    for name, reason in _FLAGS.items():
        asked = kwargs.get(name)
        if asked or (asked is None and getattr(model.config, name, False)):
            raise RefusedError(f"{name}: {reason} in a pruned model: leave it out, {_WAY_OUT}")
    if kwargs.get("return_dict") is False:
        raise RefusedError(f"return_dict=False: a pruned model gives named outputs, {_WAY_OUT}")
