"""The screen of a search: the effect of every candidate around the plan so far, to first order.

As in `prune.trace.screen`, what attention returns without a candidate's edges is computed exactly,
and only what follows it is linear. But the edges that the plan has already removed stay removed, so
the estimates follow a search, which a trace of the dense model cannot. Gradients are taken at the
plan alone: a search removes little at a time and asks again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.errors import NumericError
from prune.evaluate.answers import EncodedBatch
from prune.inputs.encode import letter_ids
from prune.kernels import Layout, segment_attention
from prune.layout.freezing import edges_of
from prune.layout.reach import Reach
from prune.layout.segments import Segments
from prune.plan.cost import Geometry
from prune.plan.forecast import Forecast
from prune.plan.moves import Candidate, without
from prune.runtime.enforce import PlanEnforcer
from prune.runtime.held import holding
from prune.trace.recording import Recording
from prune.trace.screen import frozen_weights

PASSES = 4.0
"""Passes that a screen counts as: a forward, a backward of twice its cost, and the attention of
every layer once more for each pathway."""

KEPT_BYTES = 2**32
"""Memory for what a backward pass needs; batches that take more are screened in parts."""


@dataclass(frozen=True)
class PlanScreen:
    """A `prune.plan.forecast.Foresee` of some calibration samples.

    The model must be inside `prune.runtime.attention.seam` when it is called.

    Attributes:
        batches: the samples.
        processor: the model's.
        of: how many calibration samples there are in all.
    """

    batches: Sequence[EncodedBatch]
    processor: Any
    of: int

    def __call__(self, reach: Reach, candidates: Sequence[Candidate]) -> Forecast:
        """See `prune.plan.forecast.Foresee`.

        Raises:
            NumericError: a logit or gradient is NaN or infinite.
        """
        found = [
            _screen(part, self.processor, reach, candidates)
            for batch in self.batches
            for part in _parts(batch)
        ]
        margins, changes = zip(*found, strict=True)
        margin, change = np.concatenate(margins), np.concatenate(changes, 1)
        if not (np.isfinite(margin).all() and np.isfinite(change).all()):
            raise NumericError("the model's logits or gradients are NaN or infinite")
        return Forecast(margin, change, PASSES * len(margin) / self.of)


@dataclass
class _Recorder(Recording, PlanEnforcer):
    """A plan's enforcer that records its run."""

    def layout(self, length: int) -> Layout:
        """Of the first `length` keys, prepared once."""
        return self._layout(length)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        out = super().attend(layer, query, key, value, scale)
        return self.record(layer, query, key, value, scale, out)


def _screen(
    batch: EncodedBatch, processor: Any, reach: Reach, candidates: Sequence[Candidate]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Margins `[B]` and changes `[C, B]` of one batch."""
    replay = batch.replay
    run = _Recorder(reach, replay.segments)
    with frozen_weights(replay.model), torch.enable_grad():
        with holding(replay.text_model, run):
            kwargs = {**replay.kwargs, "use_cache": False}
            states = replay.text_model(**kwargs, prune=run).last_hidden_state[:, -batch.count :]
        margin = _margins(batch, processor, states)
        gradients = run.gradients_of(margin.sum())
    known: dict[tuple[int, str], Tensor] = {}
    change = torch.zeros(len(candidates), len(batch.samples), dtype=torch.double)
    for index, candidate in enumerate(candidates):
        key = candidate.layer, candidate.pathway.name
        if key not in known:
            known[key] = _effect(run, candidate, gradients[candidate.layer])
        by_head, head = known[key], candidate.head
        change[index] = by_head.sum(1) if head is None else by_head[:, head]
    return margin.detach().double().cpu().numpy(), change.numpy()


@torch.no_grad()
def _effect(run: _Recorder, candidate: Candidate, gradient: Tensor) -> Tensor:
    """Change of the margins by removing a pathway in a layer, per KV head: `[B, Hkv]`."""
    layer = candidate.layer
    table = edges_of(without(run.reach, [replace(candidate, head=None)]))[layer]
    query, key, value, scale = run.inputs[layer]
    row = _first_row(run.segments, table, edges_of(run.reach)[layer])
    if not gradient[:, :, row:].any():  # No such edge, or nothing that an answer needs.
        return torch.zeros(query.shape[0], key.shape[1], dtype=torch.double)
    layout = run.layout(key.shape[2])
    without_it = segment_attention(
        query[:, :, row:], key, value, layout, None, torch.from_numpy(table), scale
    )
    return run.effect_of(without_it, layer, gradient).double()


def _first_row(segments: Segments, table: NDArray[np.int32], before: NDArray[np.int32]) -> int:
    """The first token, in any prompt, whose role's row differs; as many as there are if none."""
    roles = np.flatnonzero((table != before).any((0, 2)))
    column = np.asarray(np.isin(segments.role.numpy(), roles).any(0))
    return int(column.argmax()) if column.any() else len(column)


def _margins(batch: EncodedBatch, processor: Any, states: Tensor) -> Tensor:
    """Log-odds of the true option, or the mean of those of a reply's tokens: float32 `[B]`.

    Args:
        states: final states of the last tokens, `[B, count, d]`.
    """
    head = batch.replay.model.get_output_embeddings()
    margins = []
    for row, sample in enumerate(batch.samples):
        if batch.replies:
            right = torch.tensor(batch.replies[row], device=states.device)
            logits = head(states[row, -len(right) :]).float()
        else:
            right = torch.tensor([sample.answer], device=states.device)
            logits = head(states[row, -1:])[:, letter_ids(processor, sample)].float()
        others = logits.scatter(1, right[:, None], float("-inf")).logsumexp(1)
        margins.append((logits.gather(1, right[:, None])[:, 0] - others).mean())
    return torch.stack(margins)


def _parts(batch: EncodedBatch) -> Iterator[EncodedBatch]:
    """The batch in parts whose backward passes fit into memory."""
    replay = batch.replay
    geometry, size = Geometry.of(replay.model), len(batch.samples)
    # Of a layer: its norms, projections and attention, and the MLP's four products.
    wide = 12 * geometry.hidden + 4 * geometry.intermediate
    layers, length = len(replay.text_model.layers), replay.segments.shape[1]
    rows = max(1, KEPT_BYTES // (layers * length * wide * replay.model.dtype.itemsize))
    for first in range(0, size, rows):
        part = slice(first, min(first + rows, size))
        yield EncodedBatch(
            batch.samples[part], batch.videos[part], replay.rows(part), batch.replies[part]
        )
