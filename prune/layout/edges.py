"""The edge count: how many (query token, key token) pairs a reach table keeps.

Pairs are counted from a histogram over (query role, key role, frame distance), which a prompt fixes
once; no N x N mask is built.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.layout.freezing import edges_of
from prune.layout.segments import NUM_ROLES, Segments


@dataclass(frozen=True)
class EdgeHistogram:
    """Causal edges of one prompt by roles and frame distance.

    Attributes:
        pairs: int64 `[R, R, T]`, number of causal (query, key) pairs of two roles at a distance in
            frames; pairs without a distance (either token has no frame) count as distance 0.
    """

    pairs: NDArray[np.int64]

    @property
    def causal(self) -> int:
        """All causal edges of one layer and head: `S (S + 1) / 2`."""
        return int(self.pairs.sum())

    def kept(self, reach: NDArray[np.int32]) -> NDArray[np.int64]:
        """Edges that `reach` `[..., R, R]` keeps, summed over roles: int64 `[...]`."""
        kept: NDArray[np.int64] = self.kept_by_roles(reach).sum((-1, -2))
        return kept

    def kept_by_roles(self, reach: NDArray[np.int32]) -> NDArray[np.int64]:
        """Edges that `reach` `[..., R, R]` keeps, by query and key role: int64 `[..., R, R]`.

        States that a layer does not update (`prune.layout.freezing`) read nothing.
        """
        reach = edges_of(reach)
        within = np.concatenate([np.zeros((*self.pairs.shape[:2], 1), np.int64),
                                 self.pairs.cumsum(-1)], -1)  # fmt: skip
        wide = reach.astype(np.int64)
        # `~w` holds the distances from 1 to w.
        nearest = (wide < 0).astype(np.int64)
        farthest = np.clip(np.where(wide < 0, ~wide, wide) + 1, 0, self.pairs.shape[-1])
        query, key = np.indices(reach.shape[-2:])
        kept: NDArray[np.int64] = within[query, key, farthest] - within[query, key, nearest]
        return kept


def edge_histogram(segments: Segments) -> EdgeHistogram:
    """Count the causal edges of a batch of prompts (padding has none)."""
    roles, frames = segments.role.numpy().astype(np.int64), segments.frame.numpy().astype(np.int64)
    num_frames = max(int(frames.max()) + 1, 1)
    pairs = np.zeros((NUM_ROLES, NUM_ROLES, num_frames), np.int64)
    for role, frame in zip(roles, frames, strict=True):
        real = role >= 0
        if not real.any():
            continue
        # One cell per (role, frame) in the prompt: there are far fewer cells than tokens.
        cells, cell = np.unique(np.stack([role[real], frame[real]], 1), axis=0, return_inverse=True)
        member = np.zeros((real.sum(), len(cells)), np.int64)
        member[np.arange(len(member)), cell.ravel()] = 1
        seen = member.cumsum(0)
        between = np.stack([seen[cell.ravel() == c].sum(0) for c in range(len(cells))])
        cell_role, cell_frame = cells[:, 0], cells[:, 1]
        distance = np.abs(cell_frame[:, None] - cell_frame[None])
        distance[(cell_frame[:, None] < 0) | (cell_frame[None] < 0)] = 0
        np.add.at(pairs, (cell_role[:, None], cell_role[None], distance), between)
    return EdgeHistogram(pairs)
