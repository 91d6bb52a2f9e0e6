"""A plan as a server's layers need it: which tokens each computes, stores and keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from prune.kernels import ReachTable, read_reach
from prune.layout.pathways import VIDEO
from prune.layout.reach import NONE, Reach
from prune.layout.segments import NUM_ROLES, Segments
from prune.plan.liveness import PROMPT_ORDER, State, decode_reads, order_of, states

MAX_GROUPS = 8
"""Block tables per request; each costs some work in every step."""

Roles = NDArray[np.bool_]
"""bool `[R]` or `[L, R]`, a flag for every role."""


@dataclass(frozen=True)
class Needs:
    """What prompts of one order of roles need of every layer.

    Attributes:
        states: `State`, `[L, R]`, what each layer computes of the tokens of a role.
        alive: bool `[L, R]`, roles of the tokens that each layer takes and stores.
        computed: bool `[L, R]`, those whose state each layer hands on; of others keys are enough.
        reach: of every layer, nothing for queries whose state is not needed.
    """

    states: NDArray[np.int8]
    alive: Roles
    computed: Roles
    reach: tuple[ReachTable, ...]


@dataclass(frozen=True, eq=False)
class Rules:
    """A plan's reach table, and what follows from it.

    Attributes:
        reach: int32 `[L, G, R, R]`.
        full_layers: first layers that take every token.
    """

    reach: Reach
    full_layers: int
    _known: dict[bytes, Needs] = field(default_factory=dict, init=False)

    @cached_property
    def kept(self) -> Roles:
        """Roles that generated tokens read in a layer, bool `[L, R]`."""
        return decode_reads(self.reach)

    def needs(self, segments: Segments) -> Needs:
        """What a prompt needs of every layer."""
        order = order_of(segments)
        key = order.tobytes()
        if key not in self._known:
            self._known[key] = self._needs(order)
        return self._known[key]

    def _needs(self, order: NDArray[np.bool_]) -> Needs:
        found = states(self.reach, order=order)
        tables = self.reach.copy()
        tables[np.broadcast_to((found != State.COMPUTE)[:, None], tables.shape[:3])] = NONE
        reach = tuple(read_reach(torch.from_numpy(table)) for table in tables)
        computed = found == State.COMPUTE
        computed[: self.full_layers] = True
        return Needs(found, self._alive(found), computed, reach)

    def _alive(self, found: NDArray[np.int8]) -> Roles:
        alive = found > State.DEAD
        alive[: self.full_layers] = True
        return alive

    @cached_property
    def keys_alone(self) -> Roles:
        """Layers that need only keys and values of some of a prompt's tokens, bool `[L]`."""
        found = np.asarray((states(self.reach, order=PROMPT_ORDER) == State.KV_ONLY).any(1))
        found[: self.full_layers] = False
        return found

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The layers, as sets whose tokens are stored and given up together.

        Layers that store and keep the same roles form one. A server's groups all have as many
        layers, real ones or padding (`_size`). So where there were more than `MAX_GROUPS`, the sets
        that differ least are joined: those store the union. And sets are split where that saves
        padding.
        """
        alive = self._alive(states(self.reach, order=PROMPT_ORDER))
        sets: dict[bytes, list[int]] = {}
        for layer in range(len(self.reach)):
            sets.setdefault(alive[layer].tobytes() + self.kept[layer].tobytes(), []).append(layer)
        found = list(sets.values())
        while len(found) > 1 and _tables(found) > MAX_GROUPS:
            small = min(found, key=len)
            others = [layers for layers in found if layers is not small]
            near = min(others, key=lambda layers: self._distance(alive, small, layers))
            joined = sorted(small + near)
            found = [layers for layers in others if layers is not near] + [joined]
        best = found
        for most in range(1, len(self.reach)):
            parts = [part for layers in found for part in _split(layers, most)]
            if _tables(parts) <= MAX_GROUPS and _padded(parts) < _padded(best):
                best = parts
        return tuple(tuple(layers) for layers in sorted(best))

    def _distance(self, alive: Roles, first: Sequence[int], second: Sequence[int]) -> int:
        # Nearly all tokens of a prompt are video.
        weight = np.ones(NUM_ROLES, int)
        weight[list(VIDEO)] = 100
        differs = [
            table[list(first)].any(0) ^ table[list(second)].any(0) for table in (alive, self.kept)
        ]
        return int(sum(weight[roles].sum() for roles in differs))

    def group_of(self, layer: int) -> tuple[int, ...]:
        """The layers that store their tokens together with a layer's."""
        return next(layers for layers in self.groups if layer in layers)

    def keeps_exactly(self, layers: Sequence[int]) -> bool:
        """Whether generated tokens read in each of these layers all that the set keeps."""
        return bool((self.kept[list(layers)] == self.kept[layers[0]]).all())


def _split(layers: list[int], most: int) -> list[list[int]]:
    """Layers in parts of about the same size, at most `most`."""
    count = ceil(len(layers) / most)
    return [part.tolist() for part in np.array_split(np.array(layers), count)]


def _size(sets: Sequence[Sequence[int]]) -> int:
    """Layers of each group that vLLM makes of sets of layers."""
    few, many = min(map(len, sets)), max(map(len, sets))
    return many if many < 1.5 * few else few


def _tables(sets: Sequence[Sequence[int]]) -> int:
    """Groups that vLLM makes of sets of layers."""
    size = _size(sets)
    return sum(ceil(len(layers) / size) for layers in sets)


def _padded(sets: Sequence[Sequence[int]]) -> int:
    """Layers that the cache has room for, padding included."""
    return _tables(sets) * _size(sets)
