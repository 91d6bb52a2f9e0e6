"""Attention knockout (Map the Flow, 2510.13251, section 3), one masked forward each, batched.

This is the plain way, and the reference for the incremental one: every knockout of a sample is one
row of a batch that runs through all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prune.kernels import allowed_edges
from prune.pathways import Pathway, Reach, dense_reach, knockout
from prune.runtime.enforce import MaskEnforcer
from prune.runtime.replay import Replay


def default_window(num_layers: int) -> int:
    """The paper's window of 9 of 32 layers, scaled to a model's depth."""
    return max(1, round(9 * num_layers / 32))


def window_layers(centre: int, window: int, num_layers: int) -> list[int]:
    """The `window` layers around `centre` (0-based), cut off at both ends."""
    start, stop = centre - window // 2, centre + (window + 1) // 2
    return list(range(max(0, start), min(num_layers, stop)))


@dataclass(frozen=True)
class Knockouts:
    """Which knockouts to run: every pathway, around every layer.

    Attributes:
        exact_reference: run each through all layers (`plain_logits`), not incrementally.
    """

    pathways: Sequence[Pathway]
    num_layers: int
    window: int
    exact_reference: bool = False

    def windows(self) -> list[list[int]]:
        """The layers of the window around every layer."""
        return [window_layers(c, self.window, self.num_layers) for c in range(self.num_layers)]


def knockout_masks(replay: Replay, pathways: Sequence[Pathway], rows: int) -> torch.Tensor:
    """Edges of a prompt's last rows, densely and without each pathway: bool `[1 + P, rows, S]`."""
    tables = torch.from_numpy(knockout_tables(pathways))
    role, frame = replay.segments.role, replay.segments.frame
    return torch.stack([allowed_edges(role, frame, table, rows)[0, 0] for table in tables])


def knockout_tables(pathways: Sequence[Pathway]) -> Reach:
    """One layer's reach, densely and without each pathway, `[1 + P, 1, R, R]`."""
    return np.concatenate([dense_reach(1), *(knockout(1, pathway, [0]) for pathway in pathways)])


def plain_logits(replay: Replay, knockouts: Knockouts, batch: int = 32) -> torch.Tensor:
    """Next-token logits under every knockout, float32 `[P, L, V]`.

    Args:
        replay: one prompt.
        knockouts: what to remove.
        batch: knockouts in one forward pass.
    """
    masks = knockout_masks(replay, knockouts.pathways, replay.segments.shape[1])
    # The mask of every layer for every knockout, pathways outermost; 0 is the dense one.
    count = len(knockouts.pathways)
    choice = torch.zeros(knockouts.num_layers, count, knockouts.num_layers, dtype=torch.long)
    for centre, layers in enumerate(knockouts.windows()):
        for layer in layers:
            choice[layer, :, centre] = torch.arange(1, count + 1)
    parts = [
        replay.last_logits(MaskEnforcer(masks, columns), columns.shape[1])
        for columns in choice.flatten(1).split(batch, dim=1)
    ]
    return torch.cat(parts).unflatten(0, (count, knockouts.num_layers))
