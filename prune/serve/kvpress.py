"""A plan's eviction of keys, as a press of NVIDIA's kvpress (0.5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from kvpress import BasePress
from torch import Tensor

from prune.errors import RefusedError
from prune.layout.segments import Segments, segment
from prune.plan.liveness import Mode, decode_reads
from prune.plan.model_id import geometry
from prune.plan.plan import Plan


@dataclass
class PrunePress(BasePress):  # type: ignore[misc]
    """Drops the keys of a prompt that no later token reads under `plan`, in each layer its own.

    It evicts and does nothing else: attention stays the dense model's and every state is computed.
    Under `prune.apply(..., skip="none")` the cache is the one that `skip="auto"` leaves. As any
    press it keeps the prompt at hand on itself: one press serves one thread. A `ComposedPress`
    cannot hold it, since that does not enter its parts.

    Args:
        plan: made for the model.
        processor: the model's, from whose tokenizer roles are read.
        mode: "multi_turn" keeps the keys that follow-up questions may read.

    Raises:
        RefusedError: the plan is for another model, a prompt's roles are unknown, or prompts of a
            batch differ in their layout.

    Example:
        with PrunePress(plan, processor)(model):
            model.generate(**inputs)
    """

    plan: Plan
    processor: Any
    mode: Mode = "single_turn"
    _prompt: Segments | None = field(default=None, init=False, repr=False)
    _segments: Segments | None = field(default=None, init=False, repr=False)

    @contextmanager
    def __call__(self, model: Any) -> Iterator[None]:
        """Evict in every prefill of `model` inside the block."""
        self.plan.check_model(geometry(model))
        outer = model.__dict__.get("generate")
        # Only there are the tokens together with the clips that they stand for.
        model.generate = partial(self._generate, model.generate)
        handle = model.register_forward_pre_hook(self._lay_out, with_kwargs=True)
        try:
            with super().__call__(model):
                yield
        finally:
            handle.remove()
            del model.generate
            if outer is not None:
                model.generate = outer

    def _generate(self, generate: Any, *args: Any, **kwargs: Any) -> Any:
        ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        self._prompt = self._layout_of(ids, kwargs)
        try:
            return generate(*args, **kwargs)
        finally:
            self._prompt = None

    def _lay_out(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Roles of the prompt, before its first layer; None in a decode step."""
        self._segments = None
        cache = kwargs.get("past_key_values")
        if cache is None or not cache.get_seq_length():
            ids = args[0] if args else kwargs.get("input_ids")
            self._segments = self._prompt or self._layout_of(ids, kwargs)

    def _layout_of(self, ids: Tensor | None, kwargs: dict[str, Any]) -> Segments:
        found = segment(self.processor, {**kwargs, "input_ids": ids}, strict=True)
        if not bool((found.role == found.role[:1]).all()):
            raise RefusedError(
                "kvpress keeps as many keys of every prompt of a batch, and these differ in their "
                "layout: give one prompt at a time"
            )
        return found

    def forward_hook(
        self, module: Any, input: list[Tensor], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """As kvpress's own, which reads a position that transformers no longer hands to layers."""
        if self._segments is None or kwargs.get("past_key_values") is None:
            return output
        prefill = torch.arange(kwargs["hidden_states"].shape[1])
        return super().forward_hook(module, input, {**kwargs, "cache_position": prefill}, output)

    def compress(
        self,
        module: Any,
        hidden_states: Tensor,
        keys: Tensor,
        values: Tensor,
        attentions: Tensor | None,
        kwargs: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """Keys and values `[B, Hkv, S, D]` of the tokens that may still be read, S smaller."""
        assert self._segments is not None
        reads = torch.from_numpy(decode_reads(self.plan.reach, self.mode)[module.layer_idx])
        role = self._segments.role[0].long()
        kept = (reads[role] & (role >= 0)).nonzero().flatten().to(keys.device)
        return keys.index_select(2, kept), values.index_select(2, kept)
