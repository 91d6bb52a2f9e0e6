"""Generation probability by layer (Map the Flow, 2510.13251, section 3.4), and early exits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from prune.lens.states import Lens


@dataclass
class AnswerByLayer:
    """The answer of the last prompt token after every layer; a `prune.lens.states.Visit`.

    Attributes:
        lens: how states are read.
        letters: token ids of the option letters.
        probabilities: of each letter over the whole vocabulary, for layers 1 to L: `[L][O]`.
        likeliest: id of the likeliest token after layers 1 to L.
    """

    lens: Lens
    letters: Sequence[int]
    probabilities: list[list[float]] = field(default_factory=list)
    likeliest: list[int] = field(default_factory=list)

    def __call__(self, layer: int, states: Tensor) -> None:
        """See the states of one prompt `[1, S, d]`."""
        if layer == 0:  # The last token's embedding is the same in every prompt.
            return
        p = self.lens.logits(layer, states[:, -1])[0].double().softmax(-1)
        self.probabilities.append(p[list(self.letters)].tolist())
        self.likeliest.append(int(p.argmax()))


def first_layer(likeliest: Sequence[int]) -> int:
    """The first layer (1-based) whose likeliest token is the final answer."""
    return likeliest.index(likeliest[-1]) + 1


def settled_layer(likeliest: Sequence[int]) -> int:
    """The first layer (1-based) from which on every layer's likeliest token is the final answer.

    An early exit there, and not at `first_layer`, never changes an answer.
    """
    others = [layer for layer, token in enumerate(likeliest, 1) if token != likeliest[-1]]
    return max(others, default=0) + 1
