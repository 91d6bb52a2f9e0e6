"""The schedule of a prefill: which tokens each layer needs, as index tensors for its hooks."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from prune.kernels import Layout, ReachTable, prepare, read_reach
from prune.layout.freezing import edges_of, updated
from prune.layout.reach import NONE, Reach
from prune.layout.segments import NUM_ROLES, Segments
from prune.plan.liveness import Mode, State, decode_reads, order_of, states
from prune.runtime.cache import Ledger
from prune.runtime.rows import NO_TOKEN, along, key_roles, rows_of, within
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


class _Form:
    """What every layer needs of each role, in all prompts that have the same roles in one order.

    Sets of roles are bytes of `[R + 1]` booleans; the last one, for padding, is False.

    Attributes:
        needed: of every layer the roles whose keys are read.
        computed: those whose states are.
        kept: those whose keys stay in the cache.
        updated: those whose states the layer does not freeze.
        freezes: by layer, whether it needs others, which must not be computed even where that would
            be cheaper than to leave them out.
    """

    def __init__(self, reach: Reach, mode: Mode, order: np.ndarray, present: np.ndarray):
        state = states(reach, mode, order)
        self._reach, self._absent = edges_of(reach), ~present[:-1]
        self._idle = state != State.COMPUTE
        moves = updated(reach)
        self.needed, self.computed, self.kept, self.updated = (
            [(np.append(row, False) & present).tobytes() for row in roles]
            for roles in (state >= State.KV_ONLY, ~self._idle, decode_reads(reach, mode), moves)
        )
        self.freezes = (~moves & (state >= State.KV_ONLY) & present[:-1]).any(1).tolist()
        self._tables: dict[tuple[int, bool], ReachTable] = {}

    def table(self, layer: int, idle: bool) -> ReachTable:
        """A layer's reach between the roles at hand; with nothing of those whose queries are
        `idle`, where those do not run."""
        if (layer, idle) not in self._tables:
            table = self._reach[layer].copy()
            table[:, self._absent] = table[:, :, self._absent] = NONE
            if idle:
                table[:, self._idle[layer]] = NONE
            self._tables[layer, idle] = read_reach(torch.from_numpy(table))
        return self._tables[layer, idle]


def _form_of(reach: Reach, segments: Segments, mode: Mode) -> _Form:
    present = np.zeros(NUM_ROLES + 1, bool)
    present[segments.role.numpy()] = True
    present[-1] = False
    order = order_of(segments)
    return _form(reach.tobytes(), reach.shape, mode, order.tobytes(), present.tobytes())


@lru_cache(maxsize=64)
def _form(reach: bytes, shape: tuple[int, ...], mode: Mode, order: bytes, present: bytes) -> _Form:
    return _Form(
        np.frombuffer(reach, np.int32).reshape(shape),
        mode,
        np.frombuffer(order, bool).reshape(NUM_ROLES, NUM_ROLES),
        np.frombuffer(present, bool),
    )


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
        self._form, self._num_layers = _form_of(reach, segments, mode), len(reach)
        self._segments, self._worth = segments, worth
        self._start, self._stop, self._ledger = start, stop, ledger
        self._full_layers = full_layers
        self._role = segments.role[:, start:stop]
        self._everything = torch.arange(stop - start).expand(len(self._role), -1)
        self._columns: dict[bytes, Tensor] = {}
        self._exact: dict[bytes, Tensor] = {}
        self._keys: dict[Hashable, tuple[Tensor, Tensor, Layout]] = {}
        self._kept: dict[Hashable, tuple[Tensor | None, Tensor]] = {}
        self._places: dict[tuple[int, int], Tensor] = {}
        self._steps: dict[Hashable, LayerStep] = {}

    def schedule(self) -> Schedule:
        steps = []
        before = self._everything
        for layer in range(self._num_layers):
            needed = self._chosen(layer, self._form.needed)
            gone = (before.shape[1] - needed.shape[1]) * len(needed)
            if gone * (self._num_layers - layer) < self._worth.drop:
                needed = before
            steps.append(self._step(layer, before, needed))
            before = needed
        computed = self._role >= 0
        if self._full_layers < self._num_layers:
            computed = _of_roles(self._role, self._form.computed[-1])
        return Schedule(tuple(steps), None if before is self._everything else before, computed)

    def _step(self, layer: int, before: Tensor, needed: Tensor) -> LayerStep:
        """A layer that is given the columns `before` and takes `needed` of them."""
        computed = self._chosen(layer, self._form.computed)
        idle = (needed.shape[1] - computed.shape[1]) * len(needed)
        narrowed = idle >= max(1, self._worth.narrow)
        if self._form.freezes[layer]:
            computed = self._moving(layer)
            narrowed = not torch.equal(computed, needed)
        # Rows that are run without need may as well read: one table for more layers.
        table = self._form.table(layer, narrowed or self._worth == EVERY)
        # In a chunk every layer has keys of its own in front.
        keys = id(needed), layer if self._start else None
        kept = keys, self._form.kept[layer]
        step = id(before), kept, id(computed) if narrowed else None, id(table)
        if step not in self._steps:
            self._steps[step] = self._made(
                layer, before, needed, computed if narrowed else None, table, keys, kept
            )
        return self._steps[step]

    def _made(
        self,
        layer: int,
        before: Tensor,
        needed: Tensor,
        computed: Tensor | None,
        table: ReachTable,
        keys: Hashable,
        kept: Hashable,
    ) -> LayerStep:
        if keys not in self._keys:
            self._keys[keys] = self._keys_of(layer, needed)
        positions, role, layout = self._keys[keys]
        if kept not in self._kept:
            self._kept[kept] = self._held(layer, positions, role)
        keep, held = self._kept[kept]
        return LayerStep(
            arrive=None if needed is before else self._within(needed, before),
            columns=None if needed is self._everything else needed,
            compute=None if computed is None else self._within(computed, needed),
            layout=layout,
            reach=table,
            keep=keep,
            held=held,
        )

    def _chosen(self, layer: int, roles: list[bytes]) -> Tensor:
        """Columns of the tokens of a layer's roles."""
        if layer < self._full_layers:
            return self._everything
        key = roles[layer]
        if key not in self._columns:
            found = self._exactly(key)
            # Where one prompt needs all of its tokens, the others may as well keep theirs.
            whole = found.shape == self._everything.shape
            self._columns[key] = self._everything if whole else found
        return self._columns[key]

    def _moving(self, layer: int) -> Tensor:
        """Columns of the tokens that a layer computes, without any that it freezes."""
        full = layer < self._full_layers
        key = (self._form.updated if full else self._form.computed)[layer]
        if key not in self._exact:
            self._exact[key] = self._exactly(key)
        return self._exact[key]

    def _exactly(self, key: bytes) -> Tensor:
        """Columns of the tokens of a set of roles."""
        found = rows_of(_of_roles(self._role, key))
        # Modules cannot run on nothing, as of a chunk without a needed token.
        return found if found.shape[1] else torch.full((len(self._role), 1), NO_TOKEN)

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
        keep = rows_of(_of_roles(role, self._form.kept[layer]) if last else role >= 0)
        whole = keep.shape == positions.shape
        return (None, positions) if whole else (keep, _pick(positions, keep))

    def _within(self, rows: Tensor, outer: Tensor) -> Tensor:
        key = id(rows), id(outer)
        if key not in self._places:
            self._places[key] = within(rows, outer, self._stop - self._start)
        return self._places[key]


def _of_roles(role: Tensor, roles: bytes) -> Tensor:
    """Whether each token's role is one of a `_Form`'s set."""
    return torch.from_numpy(np.frombuffer(roles, bool)[role.numpy()])


def _positions(columns: Tensor, role: Tensor, start: int) -> Tensor:
    """Columns of the input as tokens of the prompt; padding is no token."""
    places = columns.numpy()
    real = (places >= 0) & (along(role.numpy(), places) >= 0)
    return torch.from_numpy(np.where(real, places + start, NO_TOKEN))


def _pick(positions: Tensor, keep: Tensor) -> Tensor:
    places = keep.numpy()
    picked = along(positions.numpy(), places)
    return torch.from_numpy(np.where(places >= 0, picked, NO_TOKEN))
