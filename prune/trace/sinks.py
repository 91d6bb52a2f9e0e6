"""Attention sinks, found from a model's own states: the tokens with massive activations.

Tokens that receive most of the attention without being about anything, as the first of a prompt,
have a few activations that are far above all others, from some early layer on (Sun et al., Massive
Activations in Large Language Models, 2402.17762, section 2: about 1,000 times the median magnitude
of the hidden state). Video tokens can be sinks as well (Kang et al., 2503.03321).
"""

import torch
from torch import Tensor

from prune.trace.dense_pass import DensePass

MASSIVE = 1000.0
"""Multiple of the median magnitude of its state at which an activation is massive."""


def sinks(dense: DensePass) -> Tensor:
    """Which tokens have a massive activation where they enter any layer but the first: bool `[S]`.

    The last token, which predicts the answer, is none.
    """
    found = torch.zeros(dense.inputs[0].shape[1], dtype=torch.bool)
    for states in dense.inputs[1:]:
        size = states[0].abs().float()
        found |= (size.amax(-1) >= MASSIVE * size.median(-1).values).cpu()
    found[-dense.count :] = False
    return found
