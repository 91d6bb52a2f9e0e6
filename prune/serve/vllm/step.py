"""One engine step: the tokens that are computed, and which of them each layer takes."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.layout.segments import Role
from prune.serve.vllm.layout import RequestLayout


@dataclass(frozen=True, eq=False)
class Part:
    """The tokens of one request in a step.

    Attributes:
        layout: of the request.
        first: their first row in the step.
        start, stop: their positions in the request.
        shown: whether the request asks for the logits of its prompt.
    """

    layout: RequestLayout
    first: int
    start: int
    stop: int
    shown: bool = False

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Their positions."""
        return np.arange(self.start, self.stop)

    @cached_property
    def _roles(self) -> NDArray[np.int8]:
        return self.layout.roles(self.positions)

    @cached_property
    def plain(self) -> bool:
        """Whether they read whatever is stored for generated tokens, without a mask."""
        if self.layout.needs is None or self.start >= len(self.layout.role):
            return True
        return bool((self._roles == Role.ANSWER).all())

    def alive(self, layer: int) -> NDArray[np.bool_]:
        """Which of them a layer takes, bool `[stop - start]`."""
        if self.layout.needs is None or self.plain:
            # Answers are needed in every layer.
            return np.ones(self.stop - self.start, bool)
        taken: NDArray[np.bool_] = self.layout.needs.alive[layer][self._roles]
        return taken

    def computed(self, layer: int) -> NDArray[np.bool_]:
        """Of which of them a layer computes more than keys and values, bool `[stop - start]`."""
        if self.layout.needs is None or self.plain:
            return np.ones(self.stop - self.start, bool)
        found: NDArray[np.bool_] = self.layout.needs.computed[layer][self._roles]
        return found

    def hands_on_all(self, layer: int) -> bool:
        """Whether a layer computes the states of all tokens that it takes."""
        needs = self.layout.needs
        return needs is None or bool((needs.alive[layer] == needs.computed[layer]).all())

    def same_tokens(self, layer: int, other: int) -> bool:
        """Whether two layers take the same tokens of the whole request."""
        needs = self.layout.needs
        return needs is None or bool((needs.alive[layer] == needs.alive[other]).all())


@dataclass(frozen=True, eq=False)
class Taken:
    """The rows of a step that a layer takes.

    Attributes:
        rows: int64 `[n]`, ascending.
        parts: for every request the places of its own among them.
    """

    rows: Tensor
    parts: tuple[slice, ...]


class Step:
    """What all layers of a forward pass work on.

    Attributes:
        parts: of its requests, in the order of their rows.
        size: number of rows.
        plain: whether all of it is, so that all layers take all rows.
        positions: of all rows, last axis, noted by the first layer.
        width: rows of the model's input, which vLLM may pad.
    """

    positions: Tensor
    width: int

    def __init__(self, parts: Sequence[Part]):
        self.parts = tuple(parts)
        self.size = sum(part.stop - part.start for part in parts)
        self.plain = all(part.plain for part in parts)
        self._taken: dict[int, Taken] = {}
        self._computed: dict[int, Taken] = {}

    def hidden(self, layer: int) -> Tensor:
        """Rows without a state behind a layer, of requests that ask for logits: int64 `[n]`."""
        rows = [
            part.first + np.flatnonzero(~part.computed(layer)) for part in self.parts if part.shown
        ]
        return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *rows]))

    @cached_property
    def _all(self) -> Taken:
        ends = [part.first + part.stop - part.start for part in self.parts]
        places = [slice(part.first, end) for part, end in zip(self.parts, ends, strict=True)]
        return Taken(torch.arange(self.size), tuple(places))

    def taken(self, layer: int) -> Taken:
        """The rows that a layer takes; the same object for a run of layers that take the same."""
        if self.plain:
            return self._all
        if layer not in self._taken:
            before = self._taken.get(layer - 1)
            same = before and all(part.same_tokens(layer, layer - 1) for part in self.parts)
            if before is None or not same:
                before = self._rows(Part.alive, layer)
            self._taken[layer] = before
        return self._taken[layer]

    def computed(self, layer: int) -> Taken:
        """The rows that a layer hands on; those that it takes, the same object, if it can be."""
        if self.plain:
            return self._all
        if layer not in self._computed:
            if all(part.hands_on_all(layer) for part in self.parts):
                self._computed[layer] = self.taken(layer)
            else:
                self._computed[layer] = self._rows(Part.computed, layer)
        return self._computed[layer]

    def leaving(self, layer: int) -> Tensor | None:
        """Places of the rows that a layer hands on among those that it takes; None for all."""
        taken, computed = self.taken(layer), self.computed(layer)
        return None if computed is taken else torch.searchsorted(taken.rows, computed.rows)

    def _rows(self, of: Callable[[Part, int], NDArray[np.bool_]], layer: int) -> Taken:
        rows, places, at = [], [], 0
        for part in self.parts:
            found = part.first + np.flatnonzero(of(part, layer))
            rows.append(found)
            places.append(slice(at, at + len(found)))
            at += len(found)
        return Taken(torch.from_numpy(np.concatenate(rows)), tuple(places))


def step_of(
    layouts: Mapping[str, RequestLayout],
    computed: Sequence[int],
    scheduled: Mapping[str, int],
    requests: Sequence[str],
    shown: Container[str] = (),
) -> Step:
    """The step that vLLM is about to run.

    Args:
        layouts: by request.
        computed: tokens of each request that are in the cache.
        scheduled: tokens of each that run now.
        requests: in the order of their rows.
        shown: those that ask for the logits of their prompt.
    """
    parts, at = [], 0
    for request, start in zip(requests, computed, strict=True):
        stop = int(start) + scheduled[request]
        parts.append(Part(layouts[request], at, int(start), stop, request in shown))
        at += scheduled[request]
    return Step(parts)
