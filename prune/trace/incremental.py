"""Incremental knockouts: mathematically the same as plain ones at a fraction of the cost.

A knockout changes no row before the first query that loses an edge, and no layer before its window
(`prune.trace.changed_rows`). Pathways that start at the same row run together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from prune.kernels import ALL, segment_attention
from prune.layout.knockout_tables import merged, told_tables
from prune.layout.pathways import Pathway
from prune.runtime.captured import Replay, next_logits
from prune.runtime.enforce import masked_attention
from prune.trace.changed_rows import ChangedRows
from prune.trace.dense_pass import DensePass
from prune.trace.knockout import knockout_masks

MAX_KEYS = 2**18
"""Keys that one batch of runs may read in a layer: bounds the memory of expanded K and V."""

MAX_EDGES = 2**26
"""Mask entries of one batch; longer prompts use the kernel, which needs no masks."""


@dataclass
class _Knockouts:
    """The attention of knockouts in flight (`prune.trace.changed_rows.Attention`).

    Attributes:
        windows: the layers of each window; run `n` is that of window `n // P` and pathway `n % P`.
        edges: by layer, those without a knockout and with each pathway's, bool
            `[1 + P, S - r, S]`; `None` where that is too large, and the kernel takes over.
        head: the KV head that the knockouts are in, or `None` for all.
    """

    dense: DensePass
    pathways: Sequence[Pathway]
    windows: Sequence[Sequence[int]]
    edges: Sequence[Tensor] | None
    head: int | None

    def __call__(
        self,
        layer: int,
        runs: Sequence[int],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
    ) -> Tensor:
        """See `prune.trace.changed_rows.Attention`."""
        places = [divmod(run, len(self.pathways)) for run in runs]
        chosen = torch.tensor(
            [1 + pathway if layer in self.windows[window] else 0 for window, pathway in places]
        )
        out = self._attend(layer, chosen, query, key, value, scale)
        if self.head is None:
            return out
        shared_by = query.shape[1] // key.shape[1]
        cut = torch.arange(query.shape[1], device=query.device) // shared_by == self.head
        others = self._attend(layer, torch.zeros_like(chosen), query, key, value, scale)
        return torch.where(cut[:, None, None], out, others)

    def _attend(
        self, layer: int, chosen: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        """Attention of every batch entry under the `chosen` `[B]` of the layer's `edges`."""
        if self.edges is not None:
            mask = self.edges[layer][chosen.to(query.device), None]
            return masked_attention(query, key, value, mask, scale)
        # Layouts stay on the CPU, where the kernel reads them.
        dense = self.dense
        found = told_tables(self.pathways, dense.replay.segments, dense.inherit, dense.row(layer))
        compact, segments = merged(*found)
        tables, role, frame = torch.from_numpy(compact), segments.role, segments.frame
        out = torch.empty_like(query)
        for index in chosen.unique().tolist():
            rows = (chosen == index).nonzero()[:, 0].to(query.device)
            layout = role.expand(len(rows), -1), frame.expand(len(rows), -1)
            out[rows] = segment_attention(
                query[rows], key[rows], value[rows], *layout, tables[index], scale
            )
        return out


def first_changed(replay: Replay, pathway: Pathway, inherit: bool = False) -> int:
    """The first row that loses an edge when a pathway is removed (or S).

    `inherit` is that of `knockout_tables`.
    """
    tables, told = told_tables([pathway], replay.segments, inherit)
    role, frame, limit = told.role[0].numpy(), told.frame[0].numpy(), tables[1, 0]
    # For every row the earliest frame of each role up to it: the key that is farthest away.
    oldest = np.where(role[:, None] == np.arange(len(limit)), frame[:, None], ALL)
    oldest = np.minimum.accumulate(oldest)
    distance = np.where(frame[:, None] < 0, 0, frame[:, None] - oldest.clip(min=0))
    farthest = np.where(limit < 0, ~limit, limit)
    # Without its own frame a row may lose whatever it reads of a role.
    changed = (((distance > farthest[role]) | (limit[role] < 0)) & (oldest < ALL)).any(1)
    return int(changed.argmax()) if changed.any() else len(role)


def knockout_logits(
    dense: DensePass,
    pathways: Sequence[Pathway],
    windows: Sequence[Sequence[int]],
    head: int | None = None,
) -> Tensor:
    """Next-token logits of every pathway's knockout in every window: float32 `[P, W, V]`.

    Args:
        dense, pathways, windows, head: as in `knockout_states`.

    Raises:
        NumericError: a logit is NaN or infinite.
    """
    states = knockout_states(dense, pathways, windows, head)[:, :, -1]
    return next_logits(dense.replay.model, states)


@torch.no_grad()
def knockout_states(
    dense: DensePass,
    pathways: Sequence[Pathway],
    windows: Sequence[Sequence[int]],
    head: int | None = None,
) -> Tensor:
    """Final states of the last tokens under every pathway's knockout in every window.

    Args:
        dense: the prompt's recorded pass.
        pathways: what is removed.
        windows: the layers of each knockout, ascending.
        head: the KV head it is removed in, or `None` for all.

    Returns:
        `[P, W, dense.count, d]`.
    """
    length = dense.replay.segments.shape[1]
    result = dense.states.repeat(len(pathways), len(windows), 1, 1)
    # Without a layer there is nothing to remove.
    real = [number for number, window in enumerate(windows) if window]
    starts = [first_changed(dense.replay, pathway, dense.inherit) for pathway in pathways]
    for row, group in groupby(sorted(range(len(pathways)), key=starts.__getitem__),
                              key=starts.__getitem__):  # fmt: skip
        if row == length:  # The prompt has no such edge.
            continue
        indices = list(group)
        together = max(1, MAX_KEYS // (len(indices) * length))
        for first in range(0, len(real), together):
            some = real[first : first + together]
            at = [windows[number] for number in some]
            states = _run(dense, [pathways[i] for i in indices], at, row, head)
            for position, index in enumerate(indices):
                # Of the rows that are read, those before the first changed one stay.
                result[index, some, -states.shape[2] :] = states[position].to(result)
    return result


def _edges(dense: DensePass, pathways: Sequence[Pathway], rows: int) -> list[Tensor]:
    """The masks of every layer; layers under equal rows of the plan share theirs."""
    known: dict[bytes, Tensor] = {}
    found = []
    for layer, inputs in enumerate(dense.inputs):
        under = dense.row(layer)
        key = b"" if under is None else under.tobytes()
        if key not in known:
            masks = knockout_masks(dense.replay, pathways, rows, dense.inherit, under)
            known[key] = masks.to(inputs.device)
        found.append(known[key])
    return found


def _run(
    dense: DensePass,
    pathways: Sequence[Pathway],
    windows: Sequence[Sequence[int]],
    row: int,
    head: int | None,
) -> Tensor:
    """Final states `[P, W, n, d]` of pathways that first change `row`: of the last rows read, those
    from `row` on."""
    replay = dense.replay
    length = replay.segments.shape[1]
    edges = None
    if (1 + len(pathways)) * (length - row) * length <= MAX_EDGES:
        edges = _edges(dense, pathways, length - row)
    rows = ChangedRows(dense, row, _Knockouts(dense, pathways, windows, edges, head))
    final = rows.final_states([window[0] for window in windows for _ in pathways])
    by_window: Tensor = final.unflatten(0, (len(windows), len(pathways)))
    return by_window.transpose(0, 1)
