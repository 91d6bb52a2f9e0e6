"""Runs that differ from a recorded pass from some row and layer on: only what differs is computed.

By causality a change reaches no row before it, and no layer before it. So a run starts at its first
changed layer, with its rows from the first changed one on, and reads the rows before them from the
recorded keys and values. Runs that start at the same row are one batch, which each joins at its
first layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from prune.runtime.cache import as_argument
from prune.trace.dense_pass import DensePass, hidden_of


class Attention(Protocol):
    """The attention of changed runs."""

    def __call__(
        self,
        layer: int,
        runs: Sequence[int],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
    ) -> Tensor:
        """As `prune.runtime.attention.Enforcer.attend`, with the number of each batch entry's run.

        The queries are the rows from the first changed one on.
        """
        ...


@dataclass
class ChangedRows:
    """A batch of runs on their way through the layers: the cache and the enforcer of these.

    Attributes:
        row: the first changed row, r.
        attention: of the runs.
        runs: the number of each batch entry's run.
    """

    dense: DensePass
    row: int
    attention: Attention
    runs: list[int] = field(default_factory=list)

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *args: Any, **more: Any) -> Any:
        """Prepend the recorded keys and values, as a transformers cache does."""
        front = self.dense.keys[layer_idx], self.dense.values[layer_idx]
        return tuple(
            torch.cat([known[:, :, : self.row].expand(len(new), -1, -1, -1), new], 2)
            for known, new in zip(front, (key, value), strict=True)
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        return self.attention(layer, self.runs, query, key, value, scale)

    @torch.no_grad()
    def final_states(self, first: Sequence[int]) -> Tensor:
        """Final states of the last rows read, of those from `row` on: `[N, n, d]`.

        Args:
            first: the first changed layer of each of N runs.
        """
        text_model = self.dense.replay.text_model
        hidden: Tensor | None = None
        for index, layer in enumerate(text_model.layers):
            joining = [run for run, start in enumerate(first) if start == index]
            if joining:
                self.runs += joining
                entering = self.dense.inputs[index][:, self.row :].expand(len(joining), -1, -1)
                # A layer may be on another device than the one before it.
                hidden = entering if hidden is None else torch.cat([hidden.to(entering), entering])
            if hidden is None:
                continue
            kwargs = {k: _from_row(k, v, self.row) for k, v in self.dense.kwargs[index].items()}
            kwargs |= {**as_argument(layer, self), "prune": self}
            hidden = hidden_of(layer(hidden, **kwargs))
            added = self.dense.added[index]
            if added is not None:
                hidden = hidden + added[:, self.row :]
        assert hidden is not None
        final: Tensor = text_model.norm(hidden[:, -self.dense.count :])
        return final[torch.tensor(self.runs).argsort()]


def _from_row(name: str, value: Any, row: int) -> Any:
    """A layer's argument, for the rows from `row` on."""
    if name == "position_embeddings":
        return tuple(part[..., row:, :] for part in value)
    if name in ("position_ids", "cache_position") and value is not None:
        return value[..., row:]
    return value
