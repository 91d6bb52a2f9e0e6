"""A cache of keys and values, for the prefixes that variants of a prompt share.

By causality a token's keys and values depend only on the tokens before it, so those of a variant
are valid for any other up to the first place where the two differ. In a greedy search that is most
of the clip: a candidate shares its beginning with the one that was chosen before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prune.runtime.rows import NO_TOKEN

TEXT = -1
"""Names a token that all variants share."""

AGE = 2
"""Calls for which a run is kept that no variant begins like: searches ask in turn for candidates
for the front and for the back, or for those that one half of F does not rule out."""

Names = NDArray[np.int64]
"""What each variant has at the first C places of the prompt, `[N, C]`: 0 for nothing, `TEXT`, or
the number of what is shown there."""


@dataclass(frozen=True)
class Front:
    """The known prefix of each variant of a batch.

    Attributes:
        columns: places of its tokens in the prompt, int64 `[N, n]`, `NO_TOKEN` behind them.
        layers: of each layer keys and values, `[N, Hkv, n, D]`; none where n is 0.
    """

    columns: Tensor
    layers: list[tuple[Tensor, Tensor]]


@dataclass(eq=False)
class Run:
    """Variants that ran together.

    Attributes:
        names: theirs.
        layers: of each layer keys and values of what they name, `[N, Hkv, n, D]`, in order from the
            left.
        needed: the last call that began like one of them, or ran them.
    """

    names: Names
    layers: list[tuple[Tensor, Tensor]]
    needed: int

    @property
    def size(self) -> int:
        """Numbers that it keeps."""
        return sum(keys.numel() + values.numel() for keys, values in self.layers)


@dataclass
class PrefixCache:
    """The variants whose prefixes later ones may share.

    Attributes:
        most: numbers of their keys and values that are kept; the oldest go first.
        runs: those that the last calls (`AGE`) ran or shared a prefix with.
        calls: calls so far.
    """

    most: int
    runs: list[Run] = field(default_factory=list, init=False)
    calls: int = field(default=0, init=False)

    def add(self, run: Run) -> list[Run]:
        """Keep a run, if there is room for it; returns those that were evicted."""
        self.runs.append(run)
        sizes = np.cumsum([run.size for run in self.runs[::-1]])
        gone = len(self.runs) - int(np.searchsorted(sizes, self.most, "right"))
        self.runs, lost = self.runs[gone:], self.runs[:gone]
        return lost

    def next_call(self) -> None:
        """Drop runs that were not needed for some calls."""
        self.calls += 1
        self.runs = [run for run in self.runs if run.needed >= self.calls - AGE]


class PrefixMatch:
    """The known prefixes of some variants.

    Args:
        names: of the variants.
        known: the cache, which also receives what they compute.
    """

    def __init__(self, names: Names, known: PrefixCache):
        self.names, self.known = names, known
        known.next_call()
        self._every = np.arange(len(names))
        self._tokens = np.pad((names != 0).cumsum(1), ((0, 0), (1, 0)))
        self._length = np.zeros(len(names), int)
        self._row = np.zeros(len(names), int)
        self._run: NDArray[np.object_] = np.full(len(names), None)
        for run in known.runs:
            self._compare(run, self._every)
        for run in known.runs:
            if (self._run == run).any():
                run.needed = known.calls

    @property
    def fronts(self) -> NDArray[np.int64]:
        """Tokens of each variant that are known, `[N]`."""
        return self._tokens[self._every, self._length]

    @property
    def tails(self) -> NDArray[np.int64]:
        """Tokens of each variant at the first C places that are not known, `[N]`."""
        return self._tokens[:, -1] - self.fronts

    def unknown(self, now: NDArray[np.integer]) -> NDArray[np.bool_]:
        """At which of the first C places the variants `now` have a token not known, `[N, C]`."""
        behind = np.arange(self.names.shape[1]) >= self._length[now, None]
        unknown: NDArray[np.bool_] = (self.names[now] != 0) & behind
        return unknown

    def front(self, now: NDArray[np.integer]) -> Front:
        """The known prefixes of the variants `now`."""
        inside = (self.names[now] != 0) & ~self.unknown(now)
        columns = _from_the_left(torch.from_numpy(inside))
        layers: list[tuple[Tensor, Tensor]] = []
        if not columns.shape[1]:
            return Front(columns, layers)
        for run in {id(run): run for run in self._run[now] if run is not None}.values():
            mine = torch.from_numpy(np.flatnonzero(self._run[now] == run))
            rows = torch.from_numpy(self._row[now])[mine]
            if not layers:
                layers = [(_room(k, columns), _room(v, columns)) for k, v in run.layers]
            for new, old in zip(layers, run.layers, strict=True):
                for target, source in zip(new, old, strict=True):
                    width = min(columns.shape[1], source.shape[2])
                    target[mine, :, :width] = source[rows, :, :width]
        return Front(columns, layers)

    def learn(self, now: NDArray[np.integer], columns: Tensor, layers: Sequence[Any]) -> None:
        """Keep what the variants `now` have computed.

        Args:
            now: which variants, N of them.
            columns: places of their tokens in the prompt, `[N, n]`, `NO_TOKEN` for none.
            layers: with `keys` and `values` of those, `[N, Hkv, n, D]`.
        """
        named = (columns >= 0) & (columns < self.names.shape[1])
        order = _from_the_left(named).clamp(min=0)
        kept = [(_tokens(layer.keys, order), _tokens(layer.values, order)) for layer in layers]
        run = Run(self.names[now], kept, self.known.calls)
        lost = self.known.add(run)
        self._compare(run, self._every)
        again = np.array([i for i in self._every if self._run[i] in lost], int)
        self._length[again], self._run[again] = 0, None
        for other in self.known.runs:
            self._compare(other, again)

    def _compare(self, run: Run, which: NDArray[np.integer]) -> None:
        """Note which of the variants begin no less like one of `run` than like any before."""
        for index in which:
            differs = run.names != self.names[index]
            length = np.where(differs.any(1), differs.argmax(1), differs.shape[1])
            row = int(length.argmax())
            if length[row] >= max(1, self._length[index]):
                self._length[index], self._row[index], self._run[index] = length[row], row, run


def _from_the_left(chosen: Tensor) -> Tensor:
    """The chosen columns of every row, in order: bool `[N, S]` to int64 `[N, n]`."""
    count = chosen.sum(1, keepdim=True)
    order = (~chosen).int().argsort(dim=1, stable=True)[:, : int(count.max())]
    return order.where(torch.arange(order.shape[1]) < count, NO_TOKEN)


def _tokens(x: Tensor, order: Tensor) -> Tensor:
    """The tokens `order` `[N, n]` of keys or values `[N, Hkv, S, D]`."""
    index = order.to(x.device)[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
    return x.gather(2, index)


def _room(x: Tensor, columns: Tensor) -> Tensor:
    """Zeros `[N, Hkv, n, D]` for what keys or values `[M, Hkv, S, D]` have at columns `[N, n]`."""
    return x.new_zeros(len(columns), x.shape[1], columns.shape[1], x.shape[3])
