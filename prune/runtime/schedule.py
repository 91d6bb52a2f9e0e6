"""The schedule of a prefill: which tokens each layer needs, as index tensors for its hooks."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from prune.kernels import Layout, ReachTable, prepare, read_reach
from prune.layout.pathways import NONE, Reach
from prune.layout.segments import Segments
from prune.plan.liveness import Mode, State, decode_reads, order_of, states
from prune.runtime.cache import Ledger
from prune.runtime.rows import NO_TOKEN, key_roles, rows_of, within
from prune.runtime.worth import EVERY, Worth


@dataclass(frozen=True)
class LayerStep:
    """The work of one layer. Index tensors are int64 and on the CPU; None means all tokens.

    Attributes:
        arrive: `[B, n]`, what to take of the tokens that leave the layer before.
        columns: `[B, n]`, where those stand in the input of the forward pass.
        compute: `[B, c]`, places among them that get queries and the MLP; the others only get K and
            V.
        layout: roles and frames of the keys.
        reach: of the KV groups, nothing for queries whose state is not needed.
        keep: `[B, m]`, places among the keys that stay in the cache.
        held: `[B, m]`, which tokens those are, counted from the start of the prompt.
    """

    arrive: Tensor | None
    columns: Tensor | None
    compute: Tensor | None
    layout: Layout
    reach: ReachTable
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
    worth: Worth = EVERY,
) -> Schedule:
    """Schedule a forward pass without dead states.

    Those of whole prompts are cached by content: prompts of one layout share them.

    Args:
        reach: int32 `[L, G, R, R]`.
        segments: layout of the whole prompt, with all turns before it.
        mode: what the prompt's states are needed for.
        start, stop: the tokens to run; less than the prompt for a chunk of it.
        ledger: what the cache holds of the tokens before `start`.
        full_layers: first layers that must keep every token.
        worth: how many states have to be dead for a layer to skip them. It changes neither the
            logits that count nor what the cache holds.
    """
    stop = segments.shape[1] if stop is None else stop
    if start:
        return _Planner(reach, segments, mode, start, stop, ledger, full_layers, worth).schedule()
    contents = (segments.role, segments.frame)
    layout = tuple(x.contiguous().numpy().tobytes() for x in contents)
    return _of_prompt(
        reach.tobytes(), reach.shape, *layout, segments.shape, mode, stop, full_layers, worth
    )


@lru_cache(maxsize=16)
def _of_prompt(
    reach: bytes,
    tables: tuple[int, ...],
    role: bytes,
    frame: bytes,
    shape: tuple[int, int],
    mode: Mode,
    stop: int,
    full_layers: int,
    worth: Worth,
) -> Schedule:
    roles = torch.from_numpy(np.frombuffer(role, np.int8).reshape(shape).copy())
    frames = torch.from_numpy(np.frombuffer(frame, np.int32).reshape(shape).copy())
    segments = Segments(roles, frames, torch.full_like(frames, -1))
    table = np.frombuffer(reach, np.int32).reshape(tables)
    return _Planner(table, segments, mode, 0, stop, None, full_layers, worth).schedule()


class _Planner:
    """Makes one schedule. What layers share (most do) is computed once."""

    def __init__(
        self,
        reach: Reach,
        segments: Segments,
        mode: Mode,
        start: int,
        stop: int,
        ledger: Ledger | None,
        full_layers: int,
        worth: Worth,
    ) -> None:
        self._reach, self._segments, self._worth = reach, segments, worth
        self._start, self._stop, self._ledger = start, stop, ledger
        self._full_layers = full_layers
        self._state = states(reach, mode, order_of(segments))
        self._reads = decode_reads(reach, mode)
        self._role = segments.role[:, start:stop]
        self._everything = torch.arange(stop - start).expand(len(self._role), -1)
        self._columns: dict[bytes, Tensor] = {}
        self._keys: dict[Hashable, tuple[Tensor, Tensor, Layout]] = {}
        self._kept: dict[Hashable, tuple[Tensor | None, Tensor]] = {}
        self._places: dict[tuple[int, int], Tensor] = {}

    def schedule(self) -> Schedule:
        steps = []
        before, num_layers = self._everything, len(self._reach)
        for layer in range(num_layers):
            needed = self._chosen(layer, State.KV_ONLY)
            gone = (before.shape[1] - needed.shape[1]) * len(needed)
            if gone * (num_layers - layer) < self._worth.drop:
                needed = before
            step = self._step(layer, before, needed)
            steps.append(step)
            before = needed
        computed = self._role >= 0
        if self._full_layers < num_layers:
            computed = _of_roles(self._role, self._state[-1] == State.COMPUTE)
        return Schedule(tuple(steps), None if before is self._everything else before, computed)

    def _step(self, layer: int, before: Tensor, needed: Tensor) -> LayerStep:
        """A layer that is given the columns `before` and takes `needed` of them."""
        computed = self._chosen(layer, State.COMPUTE)
        # In a chunk every layer has keys of its own in front.
        same = (id(needed), layer if self._start else None)
        if same not in self._keys:
            self._keys[same] = self._keys_of(layer, needed)
        positions, key_role, layout = self._keys[same]
        held_by = (same, self._reads[layer].tobytes())
        if held_by not in self._kept:
            self._kept[held_by] = self._held(layer, positions, key_role)
        keep, held = self._kept[held_by]
        compute = None
        idle = (needed.shape[1] - computed.shape[1]) * len(needed)
        if idle >= max(1, self._worth.narrow):
            compute = self._within(computed, needed)
        table = self._reach[layer].copy()
        # Rows that are run without need may as well read: one table for more layers.
        if compute is not None or self._worth == EVERY:
            table[:, self._state[layer] != State.COMPUTE] = NONE
        return LayerStep(
            arrive=None if needed is before else self._within(needed, before),
            columns=None if needed is self._everything else needed,
            compute=compute,
            layout=layout,
            reach=read_reach(torch.from_numpy(table)),
            keep=keep,
            held=held,
        )

    def _chosen(self, layer: int, least: State) -> Tensor:
        """Columns of the tokens whose state in a layer is at least that."""
        if layer < self._full_layers:
            return self._everything
        wanted = self._state[layer] >= least
        key = wanted.tobytes()
        if key not in self._columns:
            found = rows_of(_of_roles(self._role, wanted))
            if not found.shape[1]:  # a chunk without a needed token: modules cannot run on nothing
                found = torch.full((len(self._role), 1), NO_TOKEN)
            whole = found.shape == self._everything.shape
            self._columns[key] = self._everything if whole else found
        return self._columns[key]

    def _keys_of(self, layer: int, needed: Tensor) -> tuple[Tensor, Tensor, Layout]:
        """Tokens whose keys a layer reads, their roles, and their layout."""
        positions = _positions(needed, self._role, self._start)
        if self._ledger is not None and self._start:
            positions = torch.cat([self._ledger.held(layer, self._start), positions], 1)
        role, frame = key_roles(self._segments, positions, positions.shape[1])
        return positions, role, prepare(role, frame)

    def _held(self, layer: int, positions: Tensor, role: Tensor) -> tuple[Tensor | None, Tensor]:
        """Places of the keys that stay in the cache, None for all, and which tokens those are."""
        # A chunk's keys are read by the rest of the prompt, so they are dropped at its end.
        last = self._stop == self._segments.shape[1]
        keep = rows_of(_of_roles(role, self._reads[layer]) if last else role >= 0)
        whole = keep.shape == positions.shape
        return (None, positions) if whole else (keep, _pick(positions, keep))

    def _within(self, rows: Tensor, outer: Tensor) -> Tensor:
        key = id(rows), id(outer)
        if key not in self._places:
            self._places[key] = within(rows, outer, self._stop - self._start)
        return self._places[key]


def _of_roles(role: Tensor, wanted: np.ndarray) -> Tensor:
    """Whether each token's role is among `wanted` `[R]`; padding is of none."""
    return torch.from_numpy(np.append(wanted, False)[role.numpy()])


def _positions(columns: Tensor, role: Tensor, start: int) -> Tensor:
    """Columns of the input as tokens of the prompt; padding is no token."""
    places = columns.numpy()
    real = (places >= 0) & (np.take_along_axis(role.numpy(), places, 1) >= 0)
    return torch.from_numpy(np.where(real, places + start, NO_TOKEN))


def _pick(positions: Tensor, keep: Tensor) -> Tensor:
    places = keep.numpy()
    picked = np.take_along_axis(positions.numpy(), places, 1)
    return torch.from_numpy(np.where(places >= 0, picked, NO_TOKEN))
