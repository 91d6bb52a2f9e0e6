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
from prune.runtime.rows import NO_TOKEN, along, columns_of, key_roles
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
        form = _form_of(reach, segments, mode)
        return _Planner(form, segments, start, stop, ledger, full_layers, worth).schedule()
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
    form = _form_of(table, segments, mode)
    return _Planner(form, segments, 0, stop, None, full_layers, worth).schedule()


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


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The tokens of some roles in the input of a pass.

    Attributes:
        columns: int64 `[B, n]`, where they stand; `NO_TOKEN` where a row has fewer.
        role: int8 `[B, n]`, -1 where there is no token.
    """

    columns: np.ndarray
    role: np.ndarray

    def places(self, roles: bytes) -> np.ndarray:
        """Which of them are of a `_Form`'s set: int64 `[B, m]`."""
        return columns_of(np.frombuffer(roles, bool)[self.role])

    def of(self, places: np.ndarray) -> "_Tokens":
        """Those at some places."""
        columns, role = along(self.columns, places), along(self.role, places)
        if (gone := places == NO_TOKEN).any():
            columns[gone] = role[gone] = NO_TOKEN
        return _Tokens(columns, role)


def _some(places: np.ndarray) -> np.ndarray:
    """At least one place: modules cannot run on nothing, as of a chunk without a needed token."""
    return places if places.shape[1] else np.full((len(places), 1), NO_TOKEN)


class _Planner:
    """Makes one schedule. What layers share (most do) is computed once."""

    def __init__(
        self,
        form: _Form,
        segments: Segments,
        start: int,
        stop: int,
        ledger: Ledger | None,
        full_layers: int,
        worth: Worth,
    ) -> None:
        self._form, self._segments, self._worth = form, segments, worth
        self._start, self._stop, self._ledger = start, stop, ledger
        self._full_layers = full_layers
        role = segments.role[:, start:stop].numpy()
        self._everything = _Tokens(np.arange(stop - start)[None].repeat(len(role), 0), role)
        self._exact: dict[bytes, _Tokens] = {}
        self._keys: dict[Hashable, tuple[_Tokens, Layout]] = {}
        self._kept: dict[Hashable, tuple[Tensor | None, Tensor]] = {}
        self._indices: dict[Hashable, Tensor] = {}
        self._steps: dict[Hashable, LayerStep] = {}

    def schedule(self) -> Schedule:
        steps = []
        before, num_layers = self._everything, len(self._form.needed)
        for layer in range(num_layers):
            needed = self._chosen(layer, self._form.needed[layer])
            gone = before.columns.size - needed.columns.size
            if gone * (num_layers - layer) < self._worth.drop:
                needed = before
            steps.append(self._step(layer, before, needed))
            before = needed
        role = self._everything.role
        computed = role >= 0
        if self._full_layers < num_layers:
            computed = np.frombuffer(self._form.computed[-1], bool)[role]
        leave = None if before is self._everything else self._index(before)
        return Schedule(tuple(steps), leave, torch.from_numpy(computed))

    def _step(self, layer: int, before: _Tokens, needed: _Tokens) -> LayerStep:
        """A layer that is given the tokens `before` and takes those `needed` of them."""
        computed = self._form.computed[layer]
        idle = needed.columns.size - self._chosen(layer, computed).columns.size
        narrowed = idle >= max(1, self._worth.narrow)
        if self._form.freezes[layer]:
            computed = self._form.updated[layer] if layer < self._full_layers else computed
            narrowed = not np.array_equal(self._tokens(computed).columns, needed.columns)
        # Rows that are run without need may as well read: one table for more layers.
        table = self._form.table(layer, narrowed or self._worth == EVERY)
        # In a chunk every layer has keys of its own in front.
        keys = id(needed), layer if self._start else None
        kept = keys, self._form.kept[layer]
        step = id(before), kept, computed if narrowed else None, id(table)
        if step not in self._steps:
            keep, held = self._held(layer, needed, keys, kept)
            self._steps[step] = LayerStep(
                arrive=None if needed is before else self._index(before, self._form.needed[layer]),
                columns=None if needed is self._everything else self._index(needed),
                compute=self._index(needed, computed) if narrowed else None,
                layout=self._keys_of(layer, needed, keys)[1],
                reach=table,
                keep=keep,
                held=held,
            )
        return self._steps[step]

    def _chosen(self, layer: int, roles: bytes) -> _Tokens:
        """The tokens that a layer takes for those of some roles."""
        if layer < self._full_layers:
            return self._everything
        found = self._tokens(roles)
        # Where one prompt needs all of its tokens, the others may as well keep theirs.
        whole = found.columns.shape == self._everything.columns.shape
        return self._everything if whole else found

    def _tokens(self, roles: bytes) -> _Tokens:
        if roles not in self._exact:
            everything = self._everything
            places = _some(everything.places(roles))
            all_of_one = places.shape == (1, everything.columns.shape[1])
            self._exact[roles] = everything if all_of_one else everything.of(places)
        return self._exact[roles]

    def _index(self, tokens: _Tokens, roles: bytes | None = None) -> Tensor:
        """Columns of some tokens; or the places among them of those of some roles."""
        key = id(tokens), roles
        if key not in self._indices:
            found = tokens.columns if roles is None else _some(tokens.places(roles))
            self._indices[key] = torch.from_numpy(found)
        return self._indices[key]

    def _keys_of(self, layer: int, tokens: _Tokens, key: Hashable) -> tuple[_Tokens, Layout]:
        """Tokens of the prompt whose keys a layer reads, and their layout."""
        if key not in self._keys:
            positions = np.where(tokens.role >= 0, tokens.columns + self._start, NO_TOKEN)
            if self._ledger is not None and self._start:
                first = self._ledger.held(layer, self._start).numpy()
                positions = np.concatenate([first, positions], 1)
            places = torch.from_numpy(positions)
            role, frame = key_roles(self._segments, places, positions.shape[1])
            self._keys[key] = _Tokens(positions, role.numpy()), prepare(role, frame)
        return self._keys[key]

    def _held(
        self, layer: int, tokens: _Tokens, keys: Hashable, kept: Hashable
    ) -> tuple[Tensor | None, Tensor]:
        """Places of the keys that stay in the cache, None for all, and which tokens those are."""
        if kept not in self._kept:
            read, _ = self._keys_of(layer, tokens, keys)
            # A chunk's keys are read by the rest of the prompt, so they are dropped at its end.
            last = self._stop == self._segments.shape[1]
            keep = read.places(self._form.kept[layer]) if last else columns_of(read.role >= 0)
            if keep.shape == read.columns.shape:
                self._kept[kept] = None, torch.from_numpy(read.columns)
            else:
                held = along(read.columns, keep)
                held[keep < 0] = NO_TOKEN
                self._kept[kept] = torch.from_numpy(keep), torch.from_numpy(held)
        return self._kept[kept]
