"""Savings of a plan on a prompt of a given shape, as shares that hold for any model size."""

from dataclasses import dataclass

import numpy as np

from prune.layout.edges import edge_histogram
from prune.layout.reach import Reach
from prune.layout.segments import Role, Segments
from prune.plan.liveness import Mode, State, decode_reads, order_of, states

TOKENS_PER_FRAME = 144
TEXT = {
    Role.SYSTEM: 40,
    Role.BRIDGE: 5,
    Role.QUESTION: 32,
    Role.OPTIONS: 32,
    Role.TAIL: 15,
    Role.LAST: 1,
}
"""Tokens of the prompts of LLaVA-NeXT-Video in Map the Flow (2510.13251), about."""


@dataclass(frozen=True)
class Outlook:
    """Shares of the dense model's, 0 to 1.

    Attributes:
        edges: attention edges that are kept.
        computed: states that are computed, over layers: what the prefill's projections and MLPs
            cost, which is nearly all of it until prompts are very long.
        kv: keys and values that are kept after the prefill, for the prompt's own answer.
        kv_multi_turn: the same if follow-up questions may read the prompt.
    """

    edges: float
    computed: float
    kv: float
    kv_multi_turn: float


def outlook(reach: Reach, prompt: Segments) -> Outlook:
    """Count what a reach table `[L, G, R, R]` keeps on a prompt."""
    histogram = edge_histogram(prompt)
    tokens = np.array([prompt.count(role) for role in Role])
    every = len(reach) * tokens.sum()

    def kept(mode: Mode) -> float:
        return float((decode_reads(reach, mode) * tokens).sum() / every)

    state = states(reach, order=order_of(prompt))
    return Outlook(
        edges=float(histogram.kept(reach).mean() / histogram.causal),
        computed=float(((state == State.COMPUTE) * tokens).sum() / every),
        kv=kept("single_turn"),
        kv_multi_turn=kept("multi_turn"),
    )


def video_prompt(num_frames: int) -> Segments:
    """A prompt of the paper's shape with `num_frames` frames of `TOKENS_PER_FRAME` tokens."""
    video = [(Role.VIDEO, frame, TOKENS_PER_FRAME) for frame in range(num_frames)]
    text = [(role, -1, count) for role, count in TEXT.items()]
    return Segments.of_runs([text[0], *video, *text[1:]])
