"""A KV cache that drops keys no later token may read, and knows which ones it holds."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from prune.errors import RefusedError
from prune.layout.segments import Segments
from prune.runtime.attention import Enforcer
from prune.runtime.eager import eager
from prune.runtime.rows import take_keys

_LEDGER = "prune_ledger"

NAMES = ("cache", "past_key_values")
"""What transformers calls the cache: since 5.24, and before."""


class PrunedLayer(DynamicLayer):
    """K and V `[B, Hkv, m, D]` of a layer that holds `m` of the tokens it has seen.

    Its length counts the others too: positions and generation lengths follow from it.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, dropped: int = 0, keep: Tensor | None = None):
        super().__init__()  # type: ignore[no-untyped-call]
        self.dropped, self._keep = dropped, keep

    @staticmethod
    def of(keys: Tensor, values: Tensor, dropped: int) -> "PrunedLayer":
        """A layer that holds these of the tokens it has seen, and dropped the others."""
        layer = PrunedLayer(dropped)
        layer.hold(keys, values)
        return layer

    def hold(self, keys: Tensor, values: Tensor) -> None:
        """Hold these keys and values."""
        self.keys, self.values = keys, values
        # What `lazy_initialization` sets, without its empty tensors.
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values; returns all that the tokens which bring them may read."""
        if self.is_initialized or self._keep is None:
            return super().update(key_states, value_states, *args, **kwargs)
        self._fill(key_states, value_states, self._keep)
        return key_states, value_states

    @eager
    def _fill(self, keys: Tensor, values: Tensor, keep: Tensor) -> None:
        self.hold(take_keys(keys, keep), take_keys(values, keep))
        self._keep = None

    def get_seq_length(self) -> int:
        """Tokens seen, whether their keys are held or not."""
        return self.keys.shape[-2] + self.dropped if self.is_initialized else 0

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; a positive number (older transformers) is the length to keep."""
        surplus = (
            -tokens_to_remove if tokens_to_remove <= 0 else self.get_seq_length() - tokens_to_remove
        )
        if surplus > 0:
            self.keys, self.values = self.keys[..., :-surplus, :], self.values[..., :-surplus, :]

    def reset(self) -> None:
        """Start over."""
        self.dropped = 0
        super().reset()


def cache_in(arguments: Mapping[str, Any]) -> Any:
    """The cache among a module's keyword arguments, or in its output; None without one."""
    for name in NAMES:
        if (cache := arguments.get(name)) is not None:
            return cache
    return None


@lru_cache
def _name_in(forward: Any) -> str:
    parameters = inspect.signature(forward).parameters
    return next(name for name in NAMES if name in parameters)


def as_argument(text_model: Any, cache: Any) -> dict[str, Any]:
    """A cache as the keyword argument by which a text model takes it."""
    return {_name_in(type(text_model).forward): cache}


@dataclass
class Ledger:
    """The contents of a cache, stored as its attribute.

    Attributes:
        owner: identifies the plan and how it was enforced.
        segments: layout of all tokens seen whose roles are known; later ones are answers.
        positions: for every layer the tokens whose keys it holds first, int64 `[B, m]`
            (`prune.runtime.rows`). Answers follow them.
        seen: how many tokens `positions` covers.
        decoder: enforces the plan on answers.
    """

    owner: str
    segments: Segments
    positions: list[Tensor] = field(default_factory=list)
    seen: int = 0
    decoder: Enforcer | None = None

    def held(self, layer: int, start: int) -> Tensor:
        """Tokens whose keys a layer holds when `start` have been seen."""
        positions = self.positions[layer]
        answers = torch.arange(self.seen, start).expand(len(positions), -1)
        return torch.cat([positions, answers], 1)

    def repeated(self, times: int) -> "Ledger":
        """The ledger of a cache whose rows were repeated (`batch_repeat_interleave`)."""
        positions = [held.repeat_interleave(times, 0) for held in self.positions]
        return Ledger(self.owner, self.segments.repeated(times), positions, self.seen)


def ledger_of(cache: Any, owner: str) -> Ledger:
    """The ledger of a filled cache; raises `RefusedError` if another plan or none filled it."""
    ledger: Ledger | None = getattr(cache, _LEDGER, None)
    if ledger is None or ledger.owner != owner:
        raise RefusedError("the cache was filled without this plan: start a new one")
    return ledger


def note(cache: Any, ledger: Ledger) -> None:
    """Put a ledger on a cache."""
    setattr(cache, _LEDGER, ledger)


def check_cache(cache: Any) -> None:
    """Refuse a cache whose layers cannot hold different tokens.

    Raises:
        RefusedError: it is static (as CUDA graphs need it), quantised, offloaded or sliding.
    """
    plain = type(cache) is DynamicCache and not getattr(cache, "offloading", False)
    if plain and all(type(layer) in (DynamicLayer, PrunedLayer) for layer in cache.layers):
        return
    raise RefusedError(
        f"a pruned model holds other tokens in every layer, which a {type(cache).__name__} here "
        "cannot: leave out cache_implementation and past_key_values, or give a DynamicCache "
        "without offloading (static caches and the CUDA graphs that need them are not supported)"
    )


def hold_of_first(cache: Any, layer: int, keep: Tensor | None, seen: int) -> bool:
    """Let an empty layer of a cache hold only some of the first keys that it will be given.

    It never holds the others, not even while they are read.

    Args:
        cache: a `DynamicCache`.
        layer: 0-based; the layers before it are filled.
        keep: int64 `[B, m]`, places among the keys to come, or None for all of them.
        seen: tokens seen with them.

    Returns:
        Whether the layer was empty, and does so.
    """
    empty = layer >= len(cache.layers) or not cache.layers[layer].get_seq_length()
    if keep is None or not empty:
        return False
    cache.layers[layer : layer + 1] = [PrunedLayer(seen - keep.shape[1], keep)]
    return True


def hold_only(cache: Any, layer: int, keep: Tensor | None, seen: int) -> None:
    """Let one layer of a cache hold only some of its keys, and free the memory of the others.

    Args:
        cache: a `DynamicCache`.
        layer: 0-based.
        keep: int64 `[B, m]`, places among the held keys, or None for all of them.
        seen: tokens seen so far.
    """
    full = cache.layers[layer]
    keys, values = full.keys, full.values
    if keep is not None:
        keys, values = take_keys(keys, keep), take_keys(values, keep)
    dropped = seen - keys.shape[-2]
    if dropped or isinstance(full, PrunedLayer):
        cache.layers[layer] = PrunedLayer.of(keys, values, dropped)
