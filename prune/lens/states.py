"""Hidden states of every token, from the embeddings to the last layer, and the logit lens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from prune.errors import NumericError
from prune.layout.reach import dense_reach
from prune.runtime.captured import Replay
from prune.runtime.enforce import PlanEnforcer

Visit = Callable[[int, Tensor], None]
"""Called with l = 0..L and the states `[B, S, d]`: the embeddings, then those after layer l."""

Matrix = Literal["unembedding", "embedding"]


@torch.no_grad()
def visit_states(replay: Replay, visit: Visit) -> Tensor:
    """Run prompts once, densely, and pass their states to `visit` one by one; none is kept.

    A state is the input of the next layer, so features that a text model adds between layers
    (deepstack) are part of it. The last one is passed before the final norm.

    Args:
        replay: the prompts, inside `prune.runtime.attention.seam`.
        visit: called with the L + 1 states in order.

    Returns:
        The model's logits of the next token, float32 `[B, V]`.

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    text_model = replay.text_model
    layers = text_model.layers
    seen = iter(range(len(layers)))

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        visit(next(seen), args[0] if args else kwargs["hidden_states"])

    def after(module: Any, args: tuple[Any, ...], output: Any) -> None:
        visit(len(layers), output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    handles.append(layers[-1].register_forward_hook(after))
    try:
        return replay.last_logits(PlanEnforcer(dense_reach(len(layers)), replay.segments))
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Lens:
    """Reads states as distributions over the vocabulary (logit lens).

    The last state is read as the model reads it: the final norm is always applied to it. The
    published code of Map the Flow (2510.13251) normalises that one alone (`norm=False`) and reads
    video tokens with the input embeddings (`matrix="embedding"`).

    Attributes:
        norm: apply the final norm to the states before the last as well.
        matrix: what words are read with.
    """

    model: Any
    text_model: Any
    norm: bool = True
    matrix: Matrix = "unembedding"

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.text_model.layers)

    @property
    def weight(self) -> Tensor:
        """The matrix that states are multiplied with, `[V, d]`."""
        model, embedding = self.model, self.matrix == "embedding"
        owner = model.get_input_embeddings() if embedding else model.get_output_embeddings()
        weight: Tensor = owner.weight
        return weight

    @torch.no_grad()
    def logits(self, layer: int, states: Tensor) -> Tensor:
        """Float32 logits `[..., V]` of the states `[..., d]` after `layer` (0: the embeddings).

        Raises:
            NumericError: a logit is NaN or infinite.
        """
        if self.norm or layer == self.num_layers:
            states = self.text_model.norm(states)
        if self.matrix == "embedding":
            logits = F.linear(states.to(self.weight.device), self.weight)
        else:  # As the model does, whatever its head adds.
            logits = self.model.get_output_embeddings()(states)
        if not torch.isfinite(logits).all():
            raise NumericError(f"the states after layer {layer} are NaN or infinite")
        return logits.float()
