"""The range of transformers releases that prune was tested on, and a self-check on others."""

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, __version__

from prune.errors import RefusedError
from prune.runtime.attention import seam
from prune.runtime.cache import as_argument, cache_in

OLDEST, NEWEST = "5.17", "5.24"
"""Minor releases; the tests run on both ends."""


class UntestedVersionWarning(UserWarning):
    """The installed transformers is outside of the range that prune was tested on."""


def _minor(release: str) -> tuple[int, int]:
    major, minor, *_ = release.split(".")
    return int(major), int(minor)


def untested() -> str | None:
    """One line about an installed transformers that was not tested; None within the range."""
    if _minor(OLDEST) <= _minor(__version__) <= _minor(NEWEST):
        return None
    return (
        f"transformers {__version__} is outside of {OLDEST} to {NEWEST}, which prune was tested on:"
        " a self-check runs before a plan is enforced"
    )


@cache
def warn_untested() -> None:
    """Warn once if the installed transformers was not tested."""
    if (line := untested()) is not None:
        warnings.warn(line, UntestedVersionWarning, stacklevel=3)


class _Probe:
    """An enforcer that removes nothing, and notes which layers asked it."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        self.asked.append(layer)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )


@torch.no_grad()
def self_check(model: Any, text_model: Any) -> None:
    """Refuse a model whose layers do not hand on what enforcement needs.

    Two tokens run through the text model, once as it is and once through an enforcer that removes
    nothing.

    Raises:
        RefusedError: a layer did not ask the enforcer, its hooks did not see position embeddings or
            the cache, or the results differ.
    """
    device = text_model.get_input_embeddings().weight.device
    ids = torch.zeros(1, 2, dtype=torch.long, device=device)
    before = text_model(input_ids=ids, use_cache=False).last_hidden_state
    probe, seen = _Probe(), []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = cache_in(kwargs) is not None and "position_embeddings" in kwargs
        seen.append(given and kwargs.get("prune") is probe)

    handles = [
        layer.register_forward_pre_hook(note, with_kwargs=True) for layer in text_model.layers
    ]
    given = as_argument(text_model, DynamicCache())
    try:
        with seam(model):
            after = text_model(input_ids=ids, use_cache=True, **given, prune=probe)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _refusal(str(error).strip().splitlines()[0]) from None
    finally:
        for handle in handles:
            handle.remove()
    if probe.asked != list(range(len(text_model.layers))):
        raise _refusal(f"only layers {probe.asked} asked for pruned attention")
    if not all(seen) or len(seen) != len(probe.asked):
        raise _refusal("its layers do not get the cache and the position embeddings by name")
    if not torch.allclose(before, after.last_hidden_state, atol=1e-2, rtol=1e-2):
        raise _refusal("a plan that removes nothing changes its output")


def _refusal(reason: str) -> RefusedError:
    return RefusedError(
        f"transformers {__version__} cannot run under a plan: {reason}; install a "
        f"release from {OLDEST} to {NEWEST}"
    )
