"""Replay: prompts encoded once by the vision tower, to run the text model under any enforcer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune.errors import NumericError
from prune.families import family_of_model_type
from prune.layout.segments import Segments, segment
from prune.runtime.attention import Enforcer
from prune.runtime.cache import as_argument
from prune.runtime.held import holding


class _Stop(Exception):
    """Raised by a hook to end a forward pass before the text model runs."""


@dataclass(frozen=True)
class Replay:
    """A batch of prompts, frozen at the entrance of the text model.

    Attributes:
        kwargs: the text model's arguments; tensors have the batch on their first axis (position ids
            of M-RoPE on their second).
        segments: the prompts' layout.
    """

    model: Any
    text_model: Any
    kwargs: dict[str, Any]
    segments: Segments

    @property
    def batch(self) -> int:
        """B."""
        return self.segments.shape[0]

    def rows(self, chosen: slice) -> "Replay":
        """Some prompts of the batch, with their padding."""
        if chosen == slice(0, self.batch):
            return self
        layout = self.segments
        columns = (layout.role, layout.frame, layout.option)
        segments = Segments(*(column[chosen] for column in columns))
        kwargs = {}
        for name, value in self.kwargs.items():
            if isinstance(value, Tensor) and value.ndim > 1:
                # Position ids of M-RoPE have the batch on their second axis.
                axis = int(name == "position_ids" and value.ndim == 3)
                if value.shape[axis] == self.batch:
                    value = value[(slice(None),) * axis + (chosen,)]
            elif isinstance(value, list):  # deepstack features `[N, d]` of the batch's video tokens
                ends = self.kwargs["visual_pos_masks"].sum(1).cumsum(0).tolist()
                first, last = [0, *ends][chosen.start], ends[chosen.stop - 1]
                value = [features[first:last] for features in value]
            kwargs[name] = value
        return Replay(self.model, self.text_model, kwargs, segments)

    def repeated(self, times: int) -> dict[str, Any]:
        """Arguments with every batch row repeated (only for a batch of one)."""
        if times == 1:
            return self.kwargs
        repeated = {}
        for name, value in self.kwargs.items():
            if isinstance(value, Tensor) and value.ndim > 1:
                axis = 0 if value.shape[0] == self.batch else 1
                shape = [-1] * value.ndim
                shape[axis] = times
                value = value.expand(shape)
            elif isinstance(value, list):  # deepstack features `[N, d]` of the batch's video tokens
                value = [features.repeat(times, 1) for features in value]
            repeated[name] = value
        return repeated

    @torch.no_grad()
    def last_states(
        self, enforcer: Enforcer, count: int = 1, times: int = 1, cache: Any = None
    ) -> Tensor:
        """Final states of the last `count` tokens, `[B * times, count, d]`, under an enforcer.

        Args:
            enforcer: what the queries may read.
            count: how many tokens of every row.
            times: how often every row of a batch of one is repeated.
            cache: an empty transformers cache to fill, if keys and values are wanted.
        """
        kwargs = {**self.repeated(times), "use_cache": cache is not None}
        kwargs |= as_argument(self.text_model, cache)
        with holding(self.text_model, enforcer):
            states: Tensor = self.text_model(**kwargs, prune=enforcer).last_hidden_state[:, -count:]
        return states

    def last_logits(self, enforcer: Enforcer, times: int = 1, cache: Any = None) -> Tensor:
        """Logits of the next token, float32 `[B * times, V]`, under an enforcer.

        Args:
            enforcer, times, cache: as in `last_states`.

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        return next_logits(self.model, self.last_states(enforcer, 1, times, cache)[:, -1])


@torch.no_grad()
def next_logits(model: Any, states: Tensor) -> Tensor:
    """Logits of the tokens that follow final states `[..., d]`: float32 `[..., V]`.

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    logits: Tensor = model.get_output_embeddings()(states).float()
    if not torch.isfinite(logits).all():
        raise NumericError("the model's logits are NaN or infinite")
    return logits


@torch.no_grad()
def capture(model: Any, processor: Any, inputs: Any, segments: Segments | None = None) -> Replay:
    """Run the vision tower once and keep what reaches the text model.

    The model must be inside `prune.runtime.attention.seam` when the result is used.

    Args:
        model, processor: of a known family.
        inputs: what the processor returned.
        segments: their layout, where it is known; else it is found.
    """
    text_model = family_of_model_type(model.config.model_type).text_model_of(model)
    caught: dict[str, Any] = {}

    def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught.update(kwargs)
        raise _Stop

    handle = text_model.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**inputs.to(model.device))
    except _Stop:
        pass
    finally:
        handle.remove()
    layout = segment(processor, inputs) if segments is None else segments
    return Replay(model, text_model, caught, layout)
