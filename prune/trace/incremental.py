"""Incremental knockouts: mathematically the same as plain ones at a fraction of the cost.

By causality a knockout changes no row before the first query that loses an edge, and no layer
before its window. So one dense pass is recorded; every knockout starts at its window's first layer,
with its changed rows alone, and reads the rows before them from the recorded keys and values.
Pathways that start at the same row run together; windows join the batch at their first layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from prune.kernels import ALL, segment_attention
from prune.layout.knockout_tables import knockout_tables, merged, told_tables
from prune.layout.pathways import Pathway, Reach
from prune.runtime.cache import as_argument
from prune.runtime.captured import Replay, next_logits
from prune.runtime.enforce import PlanEnforcer, masked_attention
from prune.trace.knockout import knockout_masks

MAX_KEYS = 2**18
"""Keys that one batch of knockouts may read in a layer: bounds the memory of expanded K and V."""

MAX_EDGES = 2**26
"""Mask entries of one batch; longer prompts use the kernel, which needs no masks."""


@dataclass
class DensePass:
    """One recorded dense pass of a prompt; each list has one item per layer.

    Attributes:
        inputs: hidden states that enter the layer, `[1, S, d]`.
        added: what the text model adds between this layer and the next (deepstack features),
            `[1, S, d]` or `None`.
        keys, values: `[1, Hkv, S, D]`, rotated.
        kwargs: the layer's keyword arguments.
        count: how many of the last tokens are read.
        under: reach `[L, 1, R, R]` of the plan that it ran under; dense if None.
        states: their final states, `[count, d]`.
        logits: of the next token, float32 `[V]`.
    """

    replay: Replay
    count: int = 1
    under: Reach | None = None
    inputs: list[Tensor] = field(default_factory=list)
    added: list[Tensor | None] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    kwargs: list[dict[str, Any]] = field(default_factory=list)
    states: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def inherit(self) -> bool:
        """Whether generated tokens lose what `last` loses: where a whole reply is read."""
        return self.count > 1

    def row(self, layer: int) -> Reach | None:
        """The plan's reach `[R, R]` in a layer."""
        return None if self.under is None else self.under[layer, 0]


@torch.no_grad()
def record_dense(replay: Replay, count: int = 1, under: Reach | None = None) -> DensePass:
    """Run a prompt once, densely, and record the states that knockouts start from.

    Args:
        replay: one prompt.
        count: how many of its last tokens are read: 1, or those that predict a reply.
        under: reach `[L, 1, R, R]` of a plan that it runs under instead of densely.
    """
    dense, outputs = DensePass(replay, count, under), []
    layers = replay.text_model.layers

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        dense.inputs.append(args[0] if args else kwargs["hidden_states"])
        dense.kwargs.append({k: v for k, v in kwargs.items() if k != "hidden_states"})

    def after(module: Any, args: tuple[Any, ...], output: Any) -> None:
        outputs.append(_hidden(output))

    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    cache = DynamicCache()
    try:
        rows = [knockout_tables((), under=dense.row(layer))[0] for layer in range(len(layers))]
        enforcer = PlanEnforcer(*merged(np.stack(rows), replay.segments))
        dense.states = replay.last_states(enforcer, count, cache=cache)[0]
    finally:
        for handle in handles:
            handle.remove()
    dense.logits = next_logits(replay.model, dense.states[-1])
    for output, following in zip(outputs, dense.inputs[1:], strict=False):
        dense.added.append(None if output is following else following - output)
    dense.added.append(None)
    kept: list[Any] = cache.layers
    dense.keys, dense.values = [c.keys for c in kept], [c.values for c in kept]
    return dense


def _hidden(output: Any) -> Tensor:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def _from_row(name: str, value: Any, row: int) -> Any:
    """A layer's argument, for the rows from `row` on."""
    if name == "position_embeddings":
        return tuple(part[..., row:, :] for part in value)
    if name in ("position_ids", "cache_position") and value is not None:
        return value[..., row:]
    return value


@dataclass
class _KnockoutRows:
    """Batch of knockouts in flight: the cache and the enforcer of the decoder layers.

    Attributes:
        row: the first changed row, r.
        pathway: for every batch entry the index of its pathway.
        layers: for every batch entry the layers of its window.
        head: the KV head that the knockouts are in, or `None` for all.
        edges: by layer, those without a knockout and with each pathway's, bool
            `[1 + P, S - r, S]`; `None` where that is too large, and the kernel takes over.
    """

    dense: DensePass
    pathways: Sequence[Pathway]
    row: int
    edges: Sequence[Tensor] | None
    head: int | None
    pathway: list[int] = field(default_factory=list)
    layers: list[Sequence[int]] = field(default_factory=list)

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *args: Any, **more: Any) -> Any:
        """Prepend the recorded keys and values, as a transformers cache does."""
        front = self.dense.keys[layer_idx], self.dense.values[layer_idx]
        return tuple(
            torch.cat([known[:, :, : self.row].expand(len(new), -1, -1, -1), new], 2)
            for known, new in zip(front, (key, value), strict=True)
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `prune.runtime.attention.Enforcer`."""
        chosen = torch.tensor(
            [
                1 + pathway if layer in layers else 0
                for pathway, layers in zip(self.pathway, self.layers, strict=True)
            ]
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
    changed = ((distance > limit[role]) & (oldest < ALL)).any(1)
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
    rows = _KnockoutRows(dense, pathways, row, edges, head)
    hidden: Tensor | None = None
    order: list[int] = []
    for index, layer in enumerate(replay.text_model.layers):
        for number, window in enumerate(windows):
            if window[0] == index:
                order.append(number)
                rows.pathway += range(len(pathways))
                rows.layers += [window] * len(pathways)
                entering = dense.inputs[index][:, row:].expand(len(pathways), -1, -1)
                # A layer may be on another device than the one before it.
                hidden = entering if hidden is None else torch.cat([hidden.to(entering), entering])
        if hidden is None:
            continue
        kwargs = {k: _from_row(k, v, row) for k, v in dense.kwargs[index].items()}
        kwargs |= {**as_argument(layer, rows), "prune": rows}
        hidden = _hidden(layer(hidden, **kwargs))
        added = dense.added[index]
        if added is not None:
            hidden = hidden + added[:, row:]
    assert hidden is not None
    final = replay.text_model.norm(hidden[:, -dense.count :])
    by_window: Tensor = final.unflatten(0, (len(windows), len(pathways)))
    return by_window[torch.tensor(order).argsort()].transpose(0, 1)
