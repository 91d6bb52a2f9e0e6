"""Frozen roles: from some layer on, the states of their tokens stay as they are.

Other tokens still read them: every layer makes keys and values from the frozen states. Like a
knockout, freezing changes no row before the first frozen one, and no layer before it
(`prune.trace.changed_rows`). All runs in a layer freeze the same rows, so these are not computed.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prune.kernels import segment_attention
from prune.layout.fine_role import AnyRole
from prune.layout.knockout_tables import knockout_tables, merged, tokens_of
from prune.runtime.enforce import masked_attention
from prune.runtime.prefill import narrow
from prune.runtime.rows import spread
from prune.trace import incremental
from prune.trace.changed_rows import ChangedRows
from prune.trace.dense_pass import DensePass, whole
from prune.trace.knockout import knockout_masks


@dataclass
class _Moving:
    """The attention of the rows that move on (`prune.trace.changed_rows.Attention`).

    Attributes:
        places: int64 `[1, n]`, those among the rows that run.
        masks: by layer the edges of these rows, bool `[n, S]`; None where they are too large, and
            the kernel takes over.
    """

    dense: DensePass
    places: Tensor
    masks: Sequence[Tensor] | None

    def __call__(
        self,
        layer: int,
        runs: Sequence[int],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
    ) -> Tensor:
        """See `prune.trace.changed_rows.Attention`; 0 for frozen rows."""
        if self.masks is not None:
            asked = query.index_select(2, self.places[0].to(query.device))
            out = masked_attention(asked, key, value, self.masks[layer], scale)
            return spread(out.transpose(1, 2), self.places, query.shape[2]).transpose(1, 2)
        table = knockout_tables((), under=self.dense.row(layer))
        compact, segments = merged(table[0], self.dense.replay.segments)
        role, frame = (x.expand(len(query), -1) for x in (segments.role, segments.frame))
        return segment_attention(query, key, value, role, frame, torch.from_numpy(compact), scale)


@torch.no_grad()
def frozen_states(dense: DensePass, roles: Sequence[AnyRole]) -> Tensor:
    """Final states of the last tokens with roles frozen from each layer on.

    Args:
        dense: the prompt's recorded pass.
        roles: not `last`, nor those of a reply.

    Returns:
        `[L, dense.count, d]`.

    Raises:
        BadInputError: a named frame does not exist.
    """
    layers = dense.replay.text_model.layers
    frozen = tokens_of(roles, dense.replay.segments)
    if not frozen.any():
        return dense.states.repeat(len(layers), 1, 1)
    row, length = int(frozen.nonzero()[0, 0]), len(frozen)
    places = (~frozen[row:]).nonzero()[:, 0][None]
    masks = None
    if places.shape[1] * length <= incremental.MAX_EDGES:
        masks = _masks(dense, places, row)
    together = max(1, incremental.MAX_KEYS // length)
    parts = []
    with ExitStack() as stack:
        for layer in layers:
            for handle in narrow(layer, places):
                stack.callback(handle.remove)
        for first in range(0, len(layers), together):
            starts = range(first, min(first + together, len(layers)))
            rows = ChangedRows(dense, row, _Moving(dense, places, masks))
            parts.append(rows.final_states(starts).to(dense.states))
    return torch.cat(parts)


def _masks(dense: DensePass, places: Tensor, row: int) -> list[Tensor]:
    """The edges of the rows at `places` in every layer; layers of equal rows of a plan share."""
    known: dict[bytes, Tensor] = {}
    found = []
    for layer, inputs in enumerate(dense.inputs):
        under = dense.row(layer)
        key = b"" if under is None else under.tobytes()
        if key not in known:
            replay = dense.replay
            rows = replay.segments.shape[1] - row
            edges = knockout_masks(replay, (), rows, dense.inherit, under)[0]
            known[key] = edges[places[0]].to(inputs.device)
        found.append(known[key])
    return found


@torch.no_grad()
def plain_frozen_states(dense: DensePass, roles: Sequence[AnyRole]) -> Tensor:
    """`frozen_states`, each run from the start through every layer: the reference."""
    replay = dense.replay
    frozen = tokens_of(roles, replay.segments)[None, :, None]

    def put_back(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        before = args[0] if args else kwargs["hidden_states"]
        held = torch.where(frozen.to(states.device), before, states)
        return (held, *output[1:]) if isinstance(output, tuple) else held

    found = []
    for first in range(len(replay.text_model.layers)):
        with ExitStack() as stack:
            for layer in replay.text_model.layers[first:]:
                handle = layer.register_forward_hook(put_back, with_kwargs=True)
                stack.callback(handle.remove)
            states = replay.last_states(whole(replay, dense.under), dense.count)
        found.append(states[0])
    return torch.stack(found)
