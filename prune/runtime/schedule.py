"""The schedule of a prefill: which tokens each layer needs, as index tensors for its hooks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prune.kernels import Layout, prepare
from prune.layout.pathways import NONE, Reach
from prune.layout.segments import Segments
from prune.plan.liveness import Mode, State, decode_reads, order_of, states
from prune.runtime.cache import Ledger
from prune.runtime.rows import NO_TOKEN, key_roles, rows_of, within


@dataclass(frozen=True)
class LayerStep:
    """The work of one layer. Index tensors are int64 and on the CPU; None means all tokens.

    Attributes:
        arrive: `[B, n]`, what to take of the tokens that leave the layer before.
        columns: `[B, n]`, where those stand in the input of the forward pass.
        compute: `[B, c]`, places among them that get queries and the MLP; the others only get K and
            V.
        layout: roles and frames of the keys.
        reach: int32 `[G, R, R]`, nothing for queries whose state is not needed.
        keep: `[B, m]`, places among the keys that stay in the cache.
        held: `[B, m]`, which tokens those are, counted from the start of the prompt.
    """

    arrive: Tensor | None
    columns: Tensor | None
    compute: Tensor | None
    layout: Layout
    reach: Tensor
    keep: Tensor | None
    held: Tensor


@dataclass(frozen=True)
class Schedule:
    """The steps of a forward pass over prompt tokens.

    Attributes:
        steps: one per layer.
        leave: `[B, n]`, places in the input of the tokens that leave the last layer; None for all.
        computed: bool `[B, S]`, tokens whose final state is valid.
    """

    steps: tuple[LayerStep, ...]
    leave: Tensor | None
    computed: Tensor

    @property
    def states(self) -> int:
        """Token states that are computed, over batch and layers, padding included."""
        rows = (s.columns if s.compute is None else s.compute for s in self.steps)
        return sum((self.computed if r is None else r).numel() for r in rows)


def schedule(
    reach: Reach,
    segments: Segments,
    mode: Mode,
    start: int = 0,
    stop: int | None = None,
    ledger: Ledger | None = None,
    full_layers: int = 0,
) -> Schedule:
    """Schedule a forward pass without dead states.

    Args:
        reach: int32 `[L, G, R, R]`.
        segments: layout of the whole prompt, with all turns before it.
        mode: what the prompt's states are needed for.
        start, stop: the tokens to run; less than the prompt for a chunk of it.
        ledger: what the cache holds of the tokens before `start`.
        full_layers: first layers that must keep every token.
    """
    stop = segments.shape[1] if stop is None else stop
    state = states(reach, mode, order_of(segments))
    reads = decode_reads(reach, mode)
    role = segments.role[:, start:stop]
    everything = torch.arange(stop - start).expand(len(role), -1)
    steps = []
    before = everything
    rows: dict[bytes, Tensor] = {}

    def chosen(layer: int, least: State) -> Tensor:
        """Columns of the tokens whose state in a layer is at least that."""
        if layer < full_layers:
            return everything
        wanted = state[layer] >= least
        if wanted.tobytes() not in rows:
            found = rows_of(_of_roles(role, wanted))
            if not found.shape[1]:  # a chunk without a needed token: modules cannot run on nothing
                found = torch.full((len(role), 1), NO_TOKEN)
            rows[wanted.tobytes()] = everything if found.shape == everything.shape else found
        return rows[wanted.tobytes()]

    for layer in range(len(reach)):
        needed, computed = chosen(layer, State.KV_ONLY), chosen(layer, State.COMPUTE)
        positions = _positions(needed, role, start)
        if ledger is not None and start:
            positions = torch.cat([ledger.held(layer, start), positions], 1)
        key_role, key_frame = key_roles(segments, positions, positions.shape[1])
        # A chunk's keys are read by the rest of the prompt, so they are dropped at its end.
        stays = _of_roles(key_role, reads[layer]) if stop == segments.shape[1] else key_role >= 0
        keep = rows_of(stays)
        all_stay = keep.shape == positions.shape
        table = reach[layer].copy()
        table[:, state[layer] != State.COMPUTE] = NONE
        steps.append(
            LayerStep(
                arrive=None if needed is before else within(needed, before, stop - start),
                columns=None if needed is everything else needed,
                compute=None if computed is needed else within(computed, needed, stop - start),
                layout=prepare(key_role, key_frame),
                reach=torch.from_numpy(table),
                keep=None if all_stay else keep,
                held=positions if all_stay else _pick(positions, keep),
            )
        )
        before = needed
    last = chosen(len(reach) - 1, State.COMPUTE)
    return Schedule(
        tuple(steps),
        None if before is everything else before,
        _of_roles(role, state[-1] == State.COMPUTE) if last is not everything else role >= 0,
    )


def _of_roles(role: Tensor, wanted: np.ndarray) -> Tensor:
    """Whether each token's role is among `wanted` `[R]`."""
    return torch.from_numpy(wanted)[role.clamp(min=0).long()] & (role >= 0)


def _positions(columns: Tensor, role: Tensor, start: int) -> Tensor:
    """Columns of the input as tokens of the prompt; padding is no token."""
    real = (columns >= 0) & (role.gather(1, columns.clamp(min=0)) >= 0)
    return (columns + start).where(real, NO_TOKEN)


def _pick(positions: Tensor, keep: Tensor) -> Tensor:
    return positions.gather(1, keep.clamp(min=0)).where(keep >= 0, NO_TOKEN)
